//! Who is on the other end of a connection.

use jaco_model::Identity;
use std::any::Any;

/// A local user behind the unix socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// User id from the socket's peer credentials.
    pub uid: Option<u32>,
}

impl Caller {
    /// Reads the peer's credentials when a connection opens.
    pub(crate) fn of_connection(connection: &dyn Any) -> Caller {
        let stream = connection.downcast_ref::<actix_web::rt::net::UnixStream>();
        let uid = stream.and_then(|s| s.peer_cred().ok()).map(|cred| cred.uid());
        Caller { uid }
    }

    /// The identity in the audit log.
    pub(crate) fn identity() -> Identity {
        Identity::from("local")
    }

    /// The user's id and, where the host knows it, name: `1000 (anna)`.
    pub(crate) fn os_user(&self) -> Option<String> {
        let uid = self.uid?;
        let name = std::fs::read_to_string("/etc/passwd").ok().and_then(|file| name_of(&file, uid));
        Some(name.map_or_else(|| uid.to_string(), |name| format!("{uid} ({name})")))
    }
}

/// The name of a user id in the text of a passwd file.
fn name_of(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn a_user_id_finds_its_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n";
        assert_eq!(name_of(passwd, 1000).as_deref(), Some("anna"));
        assert_eq!(name_of(passwd, 7), None);
    }
}
