//! A YAML document as a tree that remembers where each piece was written.

/// Index of a file in the list of sources of one load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u16);

/// Where a piece was written; line and column count from 1, column in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The file.
    pub file: FileId,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

/// One value and where it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it starts. Values that came through an alias, a merge key, `extends` or `include`
    /// keep the position where they were written.
    pub at: Position,
}

/// What a node is. Anchors, aliases and merge keys are resolved before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing was written, or `null` or `~`.
    Null,
    /// Any other scalar, as text: the field it lands in decides what it means.
    Scalar {
        /// The text, unescaped.
        text: String,
        /// Written without quotes, so that `true` or `3` may be a boolean or a number.
        plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A map in the order written; keys are unique.
    Map(Vec<Entry>),
}

/// One key of a map and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key was written.
    pub key_at: Position,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The value of one key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// One key with its value, if this is a map that has it.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            Value::Null | Value::Scalar { .. } | Value::List(_) => None,
        }
    }

    /// Whether two trees hold the same, wherever each was written.
    pub fn same(&self, other: &Node) -> bool {
        match (&self.value, &other.value) {
            (Value::List(a), Value::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b))
            }
            (Value::Map(a), Value::Map(b)) => {
                let equal = |(a, b): (&Entry, &Entry)| a.key == b.key && a.value.same(&b.value);
                a.len() == b.len() && a.iter().zip(b).all(equal)
            }
            (a, b) => a == b,
        }
    }

    /// Whether nothing was written here.
    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// What the value is called in an error message: `a map`, `a list`, `text` or `nothing`.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar { .. } => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}
