//! The web servers of a node, as a look finds them. All of it is the node's word.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    Nginx,
    Apache,
    Haproxy,
    Caddy,
}

impl ServerKind {
    /// As the look and `server` in `[install]` write it.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Nginx, Self::Apache, Self::Haproxy, Self::Caddy].into_iter().find(|kind| kind.as_str() == word)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Apache => "apache",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundServer {
    pub kind: ServerKind,
    /// The path of the program that tests and reloads.
    pub program: String,
    /// By which it finds its configuration; none: the one that it was built with.
    pub arguments: Vec<String>,
    /// systemd's unit, where that can reload it.
    pub unit: Option<String>,
    /// It listens at the port in question.
    pub listens: bool,
    /// Its configuration as it prints it itself; for Apache and HAProxy with the text of every file behind a line
    /// `# configuration file PATH:`, as nginx has it.
    pub configuration: String,
}

/// What a look at a node found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebServers {
    pub servers: Vec<FoundServer>,
    /// A program that listens at the port and is none of these.
    pub other: Option<String>,
}
