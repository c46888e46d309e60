//! HTTP/1 messages as the letter of RFC 9112 has them, read from recorded bytes. It shares nothing
//! with the proxy's own reader, so that the two check each other.

/// One request or response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// Its first line.
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether all of it is there.
    pub(crate) is_whole: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
}

/// What a stream of bytes holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Messages {
    /// Only the last can be incomplete.
    pub(crate) all: Vec<Message>,
    /// What is wrong with the bytes after those.
    pub(crate) fault: Option<&'static str>,
}

impl Message {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The code of a response.
    pub(crate) fn status(&self) -> u16 {
        self.line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// The target of a request.
    pub(crate) fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or("")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Messages {
    pub(crate) fn read(bytes: &[u8], kind: Kind) -> Messages {
        let mut messages = Messages::default();
        let mut reader = Reader { rest: bytes };
        while !reader.rest.is_empty() {
            let mut message = Message::default();
            match reader.message(&mut message, kind) {
                Ok(()) => message.is_whole = true,
                Err(Stop::Short) => {
                    messages.all.push(message);
                    break;
                }
                Err(Stop::Wrong(why)) => {
                    messages.fault = Some(why);
                    break;
                }
            }
            messages.all.push(message);
        }
        messages
    }

    /// Responses that are not interim.
    pub(crate) fn finals(&self) -> impl Iterator<Item = &Message> {
        self.all.iter().filter(|message| message.status() >= 200 || message.status() == 101)
    }
}

enum Stop {
    /// More would have to come.
    Short,
    Wrong(&'static str),
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn message(&mut self, message: &mut Message, kind: Kind) -> Result<(), Stop> {
        message.line = text(self.line()?);
        check_first(&message.line, kind)?;
        message.fields = self.fields()?;
        let all = |name: &str| -> Vec<&str> {
            let named = message.fields.iter().filter(|(known, _)| known == name);
            named.map(|(_, value)| value.as_str()).collect()
        };
        let (lengths, codings, hosts) =
            (all("content-length"), all("transfer-encoding"), all("host"));
        let is_old = message.line.contains("HTTP/1.0");
        if kind == Kind::Request && (hosts.len() > 1 || (hosts.is_empty() && !is_old)) {
            return Err(Stop::Wrong("hosts"));
        }
        match (lengths.as_slice(), codings.as_slice()) {
            ([], []) if kind == Kind::Request || has_no_body(message.status()) => Ok(()),
            ([], []) => {
                message.body = std::mem::take(&mut self.rest).to_vec();
                Ok(())
            }
            ([length], []) => {
                let is_number = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
                let length = length.parse::<u64>().ok().filter(|_| is_number);
                let length = length.ok_or(Stop::Wrong("length"))?;
                self.take(length, &mut message.body)
            }
            ([], [coding]) if coding.eq_ignore_ascii_case("chunked") && !is_old => {
                self.chunks(&mut message.body)
            }
            _ => Err(Stop::Wrong("two lengths, or no known one")),
        }
    }

    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let breaks = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
        let end = self.rest.iter().position(breaks).ok_or(Stop::Short)?;
        match &self.rest[end..] {
            [b'\r', b'\n', ..] => {
                let line = &self.rest[..end];
                self.rest = &self.rest[end + 2..];
                Ok(line)
            }
            [b'\r'] => Err(Stop::Short),
            _ => Err(Stop::Wrong("a line break that is none")),
        }
    }

    fn fields(&mut self) -> Result<Vec<(String, String)>, Stop> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let line = text(line);
            let (name, value) = line.split_once(':').ok_or(Stop::Wrong("no colon"))?;
            if name.is_empty() || !name.chars().all(is_token) {
                return Err(Stop::Wrong("name"));
            }
            if value.chars().any(|c| (c < ' ' && c != '\t') || c == '\x7f') {
                return Err(Stop::Wrong("value"));
            }
            let value = value.trim_matches([' ', '\t']);
            fields.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }

    fn take(&mut self, count: u64, into: &mut Vec<u8>) -> Result<(), Stop> {
        let here = usize::try_from(count).unwrap_or(usize::MAX).min(self.rest.len());
        into.extend_from_slice(&self.rest[..here]);
        self.rest = &self.rest[here..];
        if here as u64 == count { Ok(()) } else { Err(Stop::Short) }
    }

    fn chunks(&mut self, into: &mut Vec<u8>) -> Result<(), Stop> {
        loop {
            let line = text(self.line()?);
            let is_number = !line.is_empty() && line.bytes().all(|b| b.is_ascii_hexdigit());
            let size = u64::from_str_radix(&line, 16).ok().filter(|_| is_number);
            let size = size.filter(|size| *size <= 1 << 40).ok_or(Stop::Wrong("chunk size"))?;
            if size == 0 {
                return self.fields().map(|_| ());
            }
            self.take(size, into)?;
            match self.rest {
                [b'\r', b'\n', ..] => self.rest = &self.rest[2..],
                [] | [b'\r'] => return Err(Stop::Short),
                _ => return Err(Stop::Wrong("chunk end")),
            }
        }
    }
}

fn check_first(line: &str, kind: Kind) -> Result<(), Stop> {
    let words: Vec<&str> = line.split(' ').collect();
    let is_right = match (kind, words.as_slice()) {
        (Kind::Request, [method, target, "HTTP/1.1" | "HTTP/1.0"]) => {
            !method.is_empty()
                && method.chars().all(is_token)
                && !target.is_empty()
                && target.chars().all(|c| c > ' ' && c != '\x7f')
        }
        (Kind::Response, ["HTTP/1.1" | "HTTP/1.0", code, ..]) => {
            code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit())
        }
        _ => false,
    };
    if is_right { Ok(()) } else { Err(Stop::Wrong("first line")) }
}

fn has_no_body(status: u16) -> bool {
    status < 200 || status == 204 || status == 304
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// One character a byte.
fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
