//! What this binary calls itself.

use jaco_model::view::VersionView;

/// The version line, such as `v0.1.0`.
pub(crate) const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// Version, commit and build date; the latter two are `unknown` in a build outside a checkout.
pub(crate) fn view() -> VersionView {
    VersionView {
        version: VERSION.to_owned(),
        commit: option_env!("JACO_COMMIT").unwrap_or("unknown").to_owned(),
        built: option_env!("JACO_BUILT").unwrap_or("unknown").to_owned(),
        server_version: None,
    }
}
