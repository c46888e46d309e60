//! Settings from `PROBE_*` variables.
//!
//! A value that does not parse ends the process: a test that misspells a setting must not pass
//! with the default.

use std::time::Duration;

/// What a termination signal does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnSignal {
    Exit(u8),
    Ignore,
    ExitAfter { ms: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) http_port: u16,
    pub(crate) tcp_port: Option<u16>,
    pub(crate) udp_port: Option<u16>,
    pub(crate) ready_after: Duration,
    pub(crate) on_signal: OnSignal,
    pub(crate) every_ms: u64,
    pub(crate) peer: Option<String>,
    pub(crate) timeout: Duration,
}

impl Settings {
    /// Reads every setting through `lookup`, which returns a variable's value when it is set.
    pub(crate) fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let number = |name: &str| -> Result<Option<u64>, String> {
            lookup(name).map(|text| parse_number(name, &text)).transpose()
        };
        let port = |name: &str| -> Result<Option<u16>, String> {
            number(name)?
                .map(|value| u16::try_from(value).map_err(|_| format!("{name}: port over 65535")))
                .transpose()
        };
        Ok(Self {
            http_port: port("PROBE_HTTP_PORT")?.unwrap_or(8080),
            tcp_port: port("PROBE_TCP_PORT")?,
            udp_port: port("PROBE_UDP_PORT")?,
            ready_after: Duration::from_millis(number("PROBE_READY_AFTER_MS")?.unwrap_or(0)),
            on_signal: lookup("PROBE_SIGTERM")
                .map_or(Ok(OnSignal::Exit(0)), |text| parse_on_signal(&text))?,
            every_ms: number("PROBE_EVERY_MS")?.unwrap_or(1000),
            peer: lookup("PROBE_PEER").filter(|url| !url.is_empty()),
            // A zero timeout is an error for sockets, so the shortest is one millisecond.
            timeout: Duration::from_millis(number("PROBE_TIMEOUT_MS")?.unwrap_or(3000).max(1)),
        })
    }
}

fn parse_number(name: &str, text: &str) -> Result<u64, String> {
    text.trim().parse().map_err(|_| format!("{name}: {text:?} is not a number"))
}

fn parse_on_signal(text: &str) -> Result<OnSignal, String> {
    let wrong = || format!("PROBE_SIGTERM: {text:?} is not exit, ignore, delay:<ms> or code:<n>");
    match text.split_once(':') {
        None if text == "exit" || text.is_empty() => Ok(OnSignal::Exit(0)),
        None if text == "ignore" => Ok(OnSignal::Ignore),
        Some(("delay", ms)) => ms.parse().map(|ms| OnSignal::ExitAfter { ms }).map_err(|_| wrong()),
        Some(("code", code)) => code.parse().map(OnSignal::Exit).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> Result<Settings, String> {
        Settings::from_lookup(move |asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn defaults_need_no_environment() {
        let settings = Settings::from_lookup(|_| None).unwrap();
        assert_eq!(settings.http_port, 8080);
        assert_eq!(settings.tcp_port, None);
        assert_eq!(settings.on_signal, OnSignal::Exit(0));
    }

    #[test]
    fn every_signal_behaviour_parses() {
        for (text, expected) in [
            ("exit", OnSignal::Exit(0)),
            ("ignore", OnSignal::Ignore),
            ("delay:250", OnSignal::ExitAfter { ms: 250 }),
            ("code:7", OnSignal::Exit(7)),
        ] {
            assert_eq!(with("PROBE_SIGTERM", text).unwrap().on_signal, expected);
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        for (name, value) in [
            ("PROBE_SIGTERM", "never"),
            ("PROBE_SIGTERM", "code:300"),
            ("PROBE_HTTP_PORT", "70000"),
            ("PROBE_EVERY_MS", "often"),
        ] {
            let error = with(name, value).unwrap_err();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
