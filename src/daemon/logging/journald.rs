//! journald's native protocol: one datagram of fields per event.

use std::fmt::{Debug, Write};
use std::os::unix::net::UnixDatagram;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// A layer that writes to journald.
#[derive(Debug)]
pub(super) struct Journald {
    socket: UnixDatagram,
}

impl Journald {
    /// `None` when journald does not listen.
    pub(super) fn connect() -> Option<Journald> {
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect(SOCKET).ok()?;
        Some(Journald { socket })
    }
}

impl<S: Subscriber> Layer<S> for Journald {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let meta = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let subsystem = meta.target().split("::").next().unwrap_or_default();
        let subsystem = subsystem.strip_prefix("jaco_").unwrap_or(subsystem);
        let text = format!("{}{}", fields.message, fields.rest);
        let mut datagram = Vec::new();
        put(&mut datagram, "MESSAGE", &text);
        put(&mut datagram, "PRIORITY", priority(*meta.level()));
        put(&mut datagram, "SYSLOG_IDENTIFIER", "jacod");
        put(&mut datagram, "JACO_SUBSYSTEM", subsystem);
        for (name, value) in &fields.named {
            put(&mut datagram, name, value);
        }
        // Nothing can be done about a journal that does not take the line.
        let _ = self.socket.send(&datagram);
    }
}

/// syslog(3) priorities.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// The length-prefixed form, which allows any bytes in a value.
fn put(datagram: &mut Vec<u8>, name: &str, value: &str) {
    datagram.extend_from_slice(name.as_bytes());
    datagram.push(b'\n');
    datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
    datagram.extend_from_slice(value.as_bytes());
    datagram.push(b'\n');
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
    named: Vec<(String, String)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
            return;
        }
        // Writing to a string does not fail.
        let _ = write!(self.rest, " {}={text}", field.name());
        self.named.push((format!("JACO_{}", field.name().to_uppercase().replace('.', "_")), text));
    }
}

#[cfg(test)]
mod tests {
    use super::put;

    #[test]
    fn a_value_with_line_ends_stays_one_field() {
        let mut datagram = Vec::new();
        put(&mut datagram, "MESSAGE", "a\nb");
        assert_eq!(datagram, b"MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n");
    }
}
