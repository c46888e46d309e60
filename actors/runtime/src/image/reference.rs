//! Image references, as far as they must be taken apart here.

/// `name[:tag][@digest]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// Registry and repository, as written.
    pub(super) name: String,
    /// `sha256:…`.
    pub(super) digest: Option<String>,
}

impl Reference {
    pub(super) fn parse(text: &str) -> Reference {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.to_owned())),
            None => (text, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let repository = name.rfind('/').map_or(0, |slash| slash + 1);
        let end = name[repository..].find(':').map_or(name.len(), |colon| repository + colon);
        Reference { name: name[..end].to_owned(), digest }
    }

    /// Whether the engine's `repository@digest` is of this repository; returns the digest.
    pub(super) fn digest_in<'a>(&self, repo_digest: &'a str) -> Option<&'a str> {
        let (name, digest) = repo_digest.split_once('@')?;
        (familiar(name) == familiar(&self.name)).then_some(digest)
    }
}

/// Whether the text is the engine's own id of an image.
pub(super) fn is_image_id(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or("");
    digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The short form that the engine shows for images of Docker Hub.
fn familiar(name: &str) -> &str {
    let hub = name.strip_prefix("docker.io/").or_else(|| name.strip_prefix("index.docker.io/"));
    let name = hub.unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_registries_are_not_tags() {
        for (text, name, digest) in [
            ("nginx", "nginx", None),
            ("nginx:1.27", "nginx", None),
            ("127.0.0.1:5000/shop/web", "127.0.0.1:5000/shop/web", None),
            ("127.0.0.1:5000/shop/web:v1", "127.0.0.1:5000/shop/web", None),
            ("web:v1@sha256:aa", "web", Some("sha256:aa")),
        ] {
            let parsed = Reference::parse(text);
            assert_eq!((parsed.name.as_str(), parsed.digest.as_deref()), (name, digest), "{text}");
        }
    }

    #[test]
    fn docker_hub_has_several_spellings() {
        let reference = Reference::parse("docker.io/library/nginx:1");
        assert_eq!(reference.digest_in("nginx@sha256:aa"), Some("sha256:aa"));
        assert_eq!(reference.digest_in("other@sha256:aa"), None);
    }
}
