//! One route with a certificate, asked for through every node.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use jaco_lab::until;

use crate::site::{Member, Site, example, output};

/// The domain of the example.
const DOMAIN: &str = "door.example.com";

/// The deployment of the example.
const DEPLOYMENT: &str = "door";

/// Longest time until there is a certificate and every node serves it.
const LIMIT: Duration = Duration::from_secs(120);

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// Applies the example, waits for its certificate, and asks through every node.
pub(super) fn tour(site: &Site) -> Result<()> {
    println!("\n==> the front door: a domain, its certificate from an ACME authority (Pebble)");
    let authority = site.authority()?;
    let addresses: Vec<_> = site.members().iter().map(Member::address).collect();
    authority.names().resolve(DOMAIN, &addresses)?;
    let path = example(DEPLOYMENT)?;
    let path = path.to_str().context("the path of the examples is not UTF-8")?.to_owned();
    site.member(0).show(&["apply", &path])?;

    let root = authority.server_root().with_file_name("issuing.crt");
    fs::write(&root, authority.issuing_root()?)?;
    for member in site.members() {
        let to = format!("{DOMAIN}:443:{}", member.address());
        let url = format!("https://{DOMAIN}/env?name=GREETING");
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--max-time", "10", "--resolve", &to]);
        curl.arg("--cacert").arg(&root).arg(&url);
        let page = until("an answer over HTTPS", LIMIT, || {
            let page = output(&mut curl).ok();
            if page.is_none() {
                std::thread::park_timeout(PAUSE);
            }
            Ok(page)
        })?;
        println!("{url} through {} ({}): {}", member.name(), member.address(), page.trim());
    }
    site.member(1).show(&["get", "route", DOMAIN])?;
    site.member(0).show(&["delete", DEPLOYMENT, "--yes"])
}
