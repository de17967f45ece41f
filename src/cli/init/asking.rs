//! The process that asks. It reads what root alone may read, becomes the owner of the state directory, and only then connects
//! to anybody.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::cert::Roots;
use crate::config::Config;
use crate::config::draft::Draft;
use crate::context::{self, Context, Secrets};
use crate::mutex::lock;
use crate::report::Exit;
use crate::ssh::Identity;
use crate::store::{Store, owner, secret};

use super::terminal::{Terminal, interruptible};
use super::{Answers, Fault, Init, Options, is_there, output, progress, provisional, setup};

/// What one run works with.
pub(super) struct Session {
    pub(super) init: Init,
    pub(super) options: Options,
    pub(super) runtime: Handle,
    /// `None`: nobody is there to be asked.
    pub(super) terminal: Option<Terminal>,
    /// Held while something is changed that should not be left half done.
    pub(super) changing: Arc<Mutex<()>>,
    pub(super) read: Read,
    /// An SSH agent that this process may ask.
    pub(super) agent: Option<PathBuf>,
}

/// What was read as root.
#[derive(Clone)]
pub(super) struct Read {
    secrets: Secrets,
    /// The token, where its file is there.
    pub(super) token: Option<Zeroizing<String>>,
    pub(super) login_identities: Vec<Identity>,
    /// certd's own key is there.
    pub(super) has_key: bool,
    /// For the chains of what is imported.
    pub(super) roots: Option<Roots>,
}

enum Start {
    First(Box<Draft>),
    /// The configuration, and its text.
    Add(Box<Config>, String),
}

/// Prints [`Answers`] on stdout, which is a pipe.
pub(super) fn answer(init: &Init, options: &Options) -> Result<u8, Fault> {
    let (start, config) = if is_there(&options.config) {
        let config = setup::configuration(&options.config)?;
        let unread = |error| Fault::usage(format!("{}: {error}\n  next: see why", options.config.display()));
        let text = std::fs::read_to_string(&options.config).map_err(unread)?;
        (Start::Add(Box::new(config.clone()), text), config)
    } else {
        let draft = init.begun(options)?;
        let config = provisional(&draft)?;
        (Start::First(Box::new(draft)), config)
    };
    let read = Read::now(init, &start, &config)?;
    owner::become_owner(&config.state_dir)?;
    // An administrator's agent lets in nobody else.
    let agent = std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from);
    let agent = agent.and_then(|path| match UnixStream::connect(&path) {
        Ok(_) => Some(path),
        Err(error) => {
            progress::line(&format!(
                "the SSH agent is not used: {} cannot be opened by the owner of {}: {error}; keys for the look at nodes: \
                 --login-identity FILE",
                path.display(),
                config.state_dir.display()
            ));
            None
        }
    });
    let runtime = setup::runtime()?;
    let changing = Arc::default();
    let session = Session {
        init: init.clone(),
        options: options.clone(),
        runtime: runtime.handle().clone(),
        terminal: init.asks().then(Terminal::new),
        changing: Arc::clone(&changing),
        read,
        agent,
    };
    let work = move || match start {
        Start::First(draft) => match session.init.from.nodes() {
            Some(nodes) => session.from_acme_sh(*draft, nodes),
            None => session.first(*draft),
        },
        Start::Add(config, text) => session.add(&config, &text),
    };
    let answers: Answers = interruptible(&runtime, &changing, work)?;
    runtime.shutdown_background();
    let text = Zeroizing::new(serde_json::to_string(&answers).unwrap_or_default());
    output::text(&text);
    Ok(Exit::Ok.code())
}

impl Read {
    fn now(init: &Init, start: &Start, config: &Config) -> Result<Self, Fault> {
        // What is missing is asked for, or named, later.
        let (secrets, _) = Secrets::read_what_can_be(config);
        let identity = |file: &PathBuf| Ok::<_, Fault>(Identity::new(file.clone(), secret::read_text(file)?));
        let login_identities = init.login_identity.iter().map(identity).collect::<Result<_, _>>()?;
        let (mut token, mut has_key) = (None, true);
        if let Start::First(draft) = start {
            if let Some(file) = draft.dns.token_file.as_deref().map(Path::new).filter(|file| is_there(file)) {
                token = Some(secret::read_line(file)?);
            }
            has_key = draft.ssh.identity_files.iter().any(|file| is_there(Path::new(file)));
        }
        // Without any, no chain is judged yet.
        let roots = init.from.nodes().and_then(|_| context::roots(config).ok());
        Ok(Self { secrets, token, login_identities, has_key, roots })
    }
}

impl Session {
    /// A line for the person, or for the log.
    pub(super) fn say(&self, text: &str) {
        if !self.options.quiet || self.terminal.is_some() {
            progress::line(text);
        }
    }

    /// For looks. Nothing is created.
    pub(super) fn context(&self, config: Config, token: Option<&Zeroizing<String>>) -> Result<Arc<Context>, Fault> {
        let config = setup::with_environment(config)?;
        let mut secrets = self.read.secrets.clone();
        if let Some(token) = token {
            secrets.dns_secret = token.clone();
        }
        let store = Store::look(&config.state_dir)?;
        let (roots, progress) = (Roots::from_ders(Vec::<Vec<u8>>::new()), progress::progress(&self.options));
        Ok(Arc::new(Context::new(config, store, roots, secrets, progress, watch::channel(false).1)))
    }

    /// Runs a change to its end, whatever is pressed meanwhile.
    pub(super) fn change<T>(&self, work: impl FnOnce() -> T) -> T {
        let _held = lock(&self.changing);
        work()
    }
}
