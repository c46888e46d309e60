//! Whether the CAA records of a domain let an authority issue for it (RFC 8659, RFC 8657).
//!
//! Here is what the records mean. Who asks for them climbs from the domain towards the root and
//! judges the first set that is not empty.

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaaRecord {
    /// Whoever does not know the tag must not issue.
    pub critical: bool,
    /// What it is about; letter case does not matter.
    pub tag: String,
    /// What it says.
    pub value: Vec<u8>,
}

/// What is to be issued.
#[derive(Clone, Copy, Debug)]
pub struct CaaWish<'a> {
    /// For all names beneath one.
    pub is_wildcard: bool,
    /// Names by which the authority goes in CAA records. Without any, only what forbids everybody
    /// forbids it.
    pub identities: &'a [String],
    /// URL of the account that will order; `None` when there is none yet, and then a record that
    /// binds to an account is taken for ours.
    pub account: Option<&'a str>,
    /// How the domain is proven, such as `dns-01`.
    pub method: &'a str,
}

/// Tags that say nothing about whether a certificate of a host may be issued.
const OTHER_TAGS: [&str; 5] = ["iodef", "issuemail", "issuevmc", "contactemail", "contactphone"];

/// The names to ask for CAA records, in their order: the domain, then each parent but the root.
pub fn caa_names(domain: &str) -> impl Iterator<Item = &str> {
    let first = domain.strip_prefix("*.").unwrap_or(domain);
    std::iter::successors(Some(first), |name| name.split_once('.').map(|(_, parent)| parent))
}

/// Judges the first set that was found.
///
/// # Errors
/// Why it may not be issued, for people.
pub fn caa_permits(records: &[CaaRecord], wish: &CaaWish<'_>) -> Result<(), String> {
    let is = |record: &CaaRecord, tag: &str| record.tag.eq_ignore_ascii_case(tag);
    let is_known = |record: &&CaaRecord| {
        ["issue", "issuewild"].iter().chain(&OTHER_TAGS).any(|tag| is(record, tag))
    };
    let mut unknown = records.iter().filter(|record| record.critical && !is_known(record));
    if let Some(record) = unknown.next() {
        let tag = &record.tag;
        return Err(format!("a critical record has the tag {tag:?}, which nobody knows here"));
    }
    let of = |tag: &str| -> Vec<&CaaRecord> { records.iter().filter(|one| is(one, tag)).collect() };
    // Of a wildcard only `issuewild` counts, wherever there is one.
    let wild = if wish.is_wildcard { of("issuewild") } else { Vec::new() };
    let relevant = if wild.is_empty() { of("issue") } else { wild };
    let mut refusals = Vec::new();
    for record in &relevant {
        match Issuer::read(&record.value).and_then(|issuer| issuer.admits(wish)) {
            Ok(()) => return Ok(()),
            Err(refusal) => refusals.push(refusal),
        }
    }
    if refusals.is_empty() { Ok(()) } else { Err(refusals.join("; ")) }
}

/// The value of an `issue` or `issuewild` record (RFC 8659 §4.2).
struct Issuer {
    /// Lower case; empty for nobody.
    name: String,
    parameters: Vec<(String, String)>,
}

impl Issuer {
    fn read(value: &[u8]) -> Result<Issuer, String> {
        let text = std::str::from_utf8(value).ok().filter(|text| text.is_ascii());
        let text = text.ok_or("a record cannot be read")?;
        let mut parts = text.split(';').map(|part| part.trim_matches([' ', '\t']));
        let name = parts.next().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        let unreadable = || format!("a record cannot be read: {text:?}");
        let is_name = |name: &str| {
            name.split('.').all(|label| {
                !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            })
        };
        if !name.is_empty() && !is_name(&name) {
            return Err(unreadable());
        }
        let mut parameters = Vec::new();
        for part in parts.filter(|part| !part.is_empty()) {
            let (tag, value) = part.split_once('=').ok_or_else(unreadable)?;
            let (tag, value) =
                (tag.trim_end_matches([' ', '\t']), value.trim_start_matches([' ', '\t']));
            let is_tag = !tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let is_value = value.bytes().all(|byte| byte.is_ascii_graphic());
            if !is_tag || !is_value {
                return Err(unreadable());
            }
            parameters.push((tag.to_ascii_lowercase(), value.to_owned()));
        }
        Ok(Issuer { name, parameters })
    }

    fn admits(&self, wish: &CaaWish<'_>) -> Result<(), String> {
        if self.name.is_empty() {
            return Err("nobody may issue".to_owned());
        }
        let is_ours = wish.identities.iter().any(|own| own.eq_ignore_ascii_case(&self.name));
        if !is_ours && !wish.identities.is_empty() {
            let own = wish.identities.join(" or ");
            return Err(format!("only {} may issue, not {own}", self.name));
        }
        let accounts = self.values("accounturi");
        if let (Some(own), [first, rest @ ..]) = (wish.account, accounts.as_slice())
            // Two of them cannot be met (RFC 8657 §3).
            && (*first != own || !rest.is_empty())
        {
            let accounts = accounts.join(" and ");
            return Err(format!(
                "{} may issue for account {accounts} alone, not for {own}",
                self.name
            ));
        }
        let methods = self.values("validationmethods");
        let is_method = methods.iter().all(|list| list.split(',').any(|one| one == wish.method));
        if !is_method {
            let (methods, method) = (methods.join(","), wish.method);
            return Err(format!("{} may issue by {methods} alone, not by {method}", self.name));
        }
        Ok(())
    }

    fn values(&self, tag: &str) -> Vec<&str> {
        let found = self.parameters.iter().filter(|(name, _)| name == tag);
        found.map(|(_, value)| value.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "https://ca.example/acct/7";

    fn record(text: &str) -> CaaRecord {
        let mut words = text.splitn(3, ' ');
        let critical = words.next() == Some("128");
        let tag = words.next().unwrap_or_default().to_owned();
        CaaRecord { critical, tag, value: words.next().unwrap_or_default().as_bytes().to_vec() }
    }

    fn judge(records: &[&str], is_wildcard: bool, method: &str) -> Result<(), String> {
        let identities = ["ca.example".to_owned(), "ca2.example".to_owned()];
        let records: Vec<CaaRecord> = records.iter().map(|text| record(text)).collect();
        let account = Some(ACCOUNT);
        caa_permits(&records, &CaaWish { is_wildcard, identities: &identities, account, method })
    }

    #[test]
    fn what_permits() {
        for (records, is_wildcard) in [
            (vec![], false),
            (vec!["0 issue ca.example"], false),
            (vec!["0 issue CA.Example."], true),
            (vec!["0 ISSUE  ca2.example ; policy=ev"], false),
            (vec!["0 issue other.example", "0 issue ca.example"], false),
            (vec!["0 issue ;", "0 issue ca.example"], false),
            (vec!["0 issuewild ;"], false),
            (vec!["0 issue ;", "0 issuewild ca.example"], true),
            (vec!["0 iodef mailto:a@b.example"], false),
            (vec!["128 iodef mailto:a@b.example", "128 issue ca.example"], false),
            (vec!["0 tbs unknown"], false),
            (vec!["128 issuemail ;"], false),
            (vec!["0 issue ca.example;accounturi=https://ca.example/acct/7"], false),
            (vec!["0 issue ca.example; validationmethods=dns-01,http-01"], false),
            (vec!["0 issue ca.example;;"], false),
        ] {
            assert_eq!(judge(&records, is_wildcard, "http-01"), Ok(()), "{records:?}");
        }
    }

    #[test]
    fn what_forbids_and_why() {
        for (records, is_wildcard, part) in [
            (vec!["0 issue other.example"], false, "only other.example may issue, not ca.example"),
            (vec!["0 issue ;"], false, "nobody may issue"),
            (vec!["0 issue "], false, "nobody may issue"),
            (vec!["0 issue ca.example", "0 issuewild ;"], true, "nobody"),
            (vec!["0 issuewild other.example", "0 issue ca.example"], true, "other.example"),
            (vec!["0 issue other.example"], true, "other.example"),
            (vec!["0 issue ca.example", "128 tbs unknown"], false, "\"tbs\""),
            (vec!["0 issue ca.example;accounturi=https://ca.example/acct/8"], false, "acct/8"),
            (
                vec!["0 issue ca.example;accounturi=https://ca.example/acct/7;accounturi=x"],
                false,
                "alone",
            ),
            (vec!["0 issue ca.example;validationmethods=dns-01"], false, "by dns-01 alone"),
            (vec!["0 issue ca.example;validationmethods="], false, "not by http-01"),
            (vec!["0 issue ca.example policy=ev"], false, "cannot be read"),
            (vec!["0 issue ca.example; policy"], false, "cannot be read"),
            (vec!["0 issue ca_.example"], false, "cannot be read"),
            (vec!["0 issue ca.example; a=b c"], false, "cannot be read"),
        ] {
            let refusal = judge(&records, is_wildcard, "http-01").unwrap_err();
            assert!(refusal.contains(part), "{records:?}: {refusal}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_forbid() {
        let value = vec![0xff, 0xfe];
        let records = [CaaRecord { critical: false, tag: "issue".to_owned(), value }];
        let wish =
            CaaWish { is_wildcard: false, identities: &[], account: None, method: "http-01" };
        assert!(caa_permits(&records, &wish).is_err());
    }

    #[test]
    fn who_is_not_known_is_not_judged_by_name() {
        let wish =
            CaaWish { is_wildcard: false, identities: &[], account: None, method: "http-01" };
        assert_eq!(caa_permits(&[record("0 issue ca.example; accounturi=x")], &wish), Ok(()));
        assert!(caa_permits(&[record("0 issue ;")], &wish).is_err());
    }

    #[test]
    fn the_tree_is_climbed_to_the_top_level() {
        let names = |domain| caa_names(domain).collect::<Vec<_>>();
        assert_eq!(names("a.b.example"), ["a.b.example", "b.example", "example"]);
        assert_eq!(names("*.b.example"), ["b.example", "example"]);
        assert_eq!(names("example"), ["example"]);
    }
}
