//! Text with a certificate chain and its key, taken apart.
//!
//! Only the frames of RFC 7468 are read here. Whether the key belongs to the leaf was checked when
//! the deployment was applied.

use crate::table::ServedCertificate;

/// Splits a text of PEM blocks into the certificates, in order, and the first private key. `None`
/// without at least one of each.
pub fn split_pem(text: &str) -> Option<ServedCertificate> {
    let mut chain_pem = String::new();
    let mut key_pem = String::new();
    let mut block: Option<(&str, String)> = None;
    for line in text.lines().map(str::trim) {
        if let Some(label) = label_of(line, "-----BEGIN ") {
            block = Some((label, String::new()));
        }
        let Some((label, body)) = &mut block else { continue };
        body.push_str(line);
        body.push('\n');
        if label_of(line, "-----END ") == Some(*label) {
            if *label == "CERTIFICATE" {
                chain_pem.push_str(body);
            } else if label.ends_with("PRIVATE KEY") && key_pem.is_empty() {
                key_pem.push_str(body);
            }
            block = None;
        }
    }
    let is_whole = !chain_pem.is_empty() && !key_pem.is_empty();
    is_whole.then_some(ServedCertificate { chain_pem, key_pem })
}

fn label_of<'t>(line: &'t str, before: &str) -> Option<&'t str> {
    line.strip_prefix(before)?.strip_suffix("-----")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(label: &str, body: &str) -> String {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    #[test]
    fn a_chain_keeps_its_order_and_the_key_is_apart() {
        let text = format!(
            "subject=shop\n{}{}\r\n{}{}",
            block("CERTIFICATE", "leaf"),
            block("CERTIFICATE", "root"),
            block("EC PARAMETERS", "x"),
            block("EC PRIVATE KEY", "secret"),
        );
        let served = split_pem(&text).unwrap();
        let chain = block("CERTIFICATE", "leaf") + &block("CERTIFICATE", "root");
        assert_eq!((served.chain_pem, served.key_pem), (chain, block("EC PRIVATE KEY", "secret")));
    }

    #[test]
    fn half_of_it_is_nothing() {
        for text in [
            String::new(),
            block("CERTIFICATE", "leaf"),
            block("PRIVATE KEY", "secret"),
            block("CERTIFICATE", "leaf") + "-----BEGIN PRIVATE KEY-----\nsecret",
        ] {
            assert_eq!(split_pem(&text), None, "{text}");
        }
    }
}
