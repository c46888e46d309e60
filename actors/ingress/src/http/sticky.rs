//! Cookies that keep a client at its replica.

use hyper::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use jaco_ingress_core::Service;
use jaco_model::spec::{SameSite, Sticky};
use std::net::{IpAddr, Ipv4Addr};

/// What keeps clients of a route.
pub(super) struct Sticks<'a> {
    pub(super) sticky: &'a Sticky,
    pub(super) service: &'a Service,
    pub(super) key: &'a [u8; 32],
    pub(super) is_tls: bool,
}

impl Sticks<'_> {
    /// The replica that a client's cookie names.
    pub(super) fn read(&self, headers: &HeaderMap) -> Option<Ipv4Addr> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|value| value.split(';'));
        let value = pairs.find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == self.sticky.cookie).then_some(value)
        })?;
        let mut endpoints = self.service.endpoints.iter();
        let found =
            endpoints.find(|endpoint| self.mark(&endpoint.instance.to_string()) == value)?;
        Some(found.address)
    }

    /// Makes the client come back to this one.
    pub(super) fn write(&self, to: IpAddr, headers: &mut HeaderMap) {
        let mut endpoints = self.service.endpoints.iter();
        let Some(endpoint) = endpoints.find(|endpoint| IpAddr::V4(endpoint.address) == to) else {
            return;
        };
        let value = self.mark(&endpoint.instance.to_string());
        let same_site = match self.sticky.same_site {
            SameSite::Lax => "Lax",
            SameSite::Strict => "Strict",
            SameSite::None => "None",
        };
        let name = &self.sticky.cookie;
        let mut cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite={same_site}");
        if self.sticky.ttl.0 > 0 {
            cookie.push_str(&format!("; Max-Age={}", self.sticky.ttl.std().as_secs()));
        }
        if self.is_tls {
            cookie.push_str("; Secure");
        }
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            headers.append(SET_COOKIE, cookie);
        }
    }

    /// Says nothing to those who have not the key, and cannot be made without it.
    fn mark(&self, instance: &str) -> String {
        blake3::keyed_hash(self.key, instance.as_bytes()).to_hex().as_str()[..32].to_owned()
    }
}
