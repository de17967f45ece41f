//! Where a certificate is installed on a node, and how the server reloads it: four layers (node and certificate, node,
//! certificate, `[install]`), merged key by key; lists are not merged.

use super::Install;
use super::defaults::LONGEST_ARGUMENT;
use super::error::ConfigErrors;
use super::forms::{FormsSpec, Written};
use super::rights::RightsSpec;
use super::servers::{SERVERS, Server};
use super::value::{absolute, printable};
use super::written::{Section, Spanned, nearest};
use crate::cert::{CertName, KeyType};

/// The placeholders.
const NAME: &str = "{name}";
const KEY_TYPE: &str = "{key_type}";

/// What stands for the placeholders.
pub(super) struct Filled<'a> {
    pub(super) name: &'a CertName,
    pub(super) written_name: &'a CertName,
    pub(super) key_type: KeyType,
}

impl Filled<'_> {
    /// Beside the key type, the name is the one that certificates of several key types share; alone, it is of one.
    fn fill(&self, text: &str) -> String {
        let name = if text.contains(KEY_TYPE) { self.written_name } else { self.name };
        text.replace(NAME, name.as_str()).replace(KEY_TYPE, self.key_type.as_str())
    }
}

/// One layer as written.
#[derive(Clone, Default)]
pub(super) struct InstallSpec {
    fullchain: Option<Spanned<String>>,
    key: Option<Spanned<String>>,
    chain: Option<Spanned<String>>,
    combined: Option<Spanned<String>>,
    chain_first: Option<bool>,
    forms: FormsSpec,
    in_place: Option<bool>,
    /// Stands for rights and commands that this layer does not write itself.
    server: Option<&'static Server>,
    rights: RightsSpec,
    rights_of_server: RightsSpec,
    test: Option<Spanned<Vec<Spanned<String>>>>,
    reload: Option<Spanned<Vec<Spanned<String>>>>,
    restart: Option<bool>,
    /// This layer has errors: a key that seems to be missing may be one of them.
    pub(super) flawed: bool,
}

/// The merged layers of one pair of node and certificate.
pub(super) struct Resolved<'a> {
    pub(super) install: Install,
    /// The written paths, for errors.
    pub(super) fullchain: &'a Spanned<String>,
    pub(super) key: &'a Spanned<String>,
    pub(super) chain: Option<&'a Spanned<String>>,
    pub(super) combined: Option<&'a Spanned<String>>,
    pub(super) forms: Vec<Written<'a>>,
}

impl InstallSpec {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let errors = section.errors();
        let before = errors.count();
        let path = |path: &Spanned<String>| absolute(path, errors) && placeholders(path, errors);
        let fullchain = section.string("fullchain").inspect(|written| _ = path(written));
        let key = section.string("key").inspect(|written| _ = path(written));
        let chain = section.string("chain").inspect(|written| _ = path(written));
        let combined = section.string("combined").inspect(|written| _ = path(written));
        let order = section.string("combined_order");
        let chain_first = order.and_then(|written| combined_order(&written, errors));
        let forms = FormsSpec::read(&mut section, path, errors);
        let in_place = section.boolean("unsafe_in_place");
        let server = section.string("server").and_then(|written| server(&written, errors));
        let rights_of_server = RightsSpec::of(server.map(Server::rights).unwrap_or_default());
        let rights = RightsSpec::read(&mut section);
        let test = section.strings("test").inspect(|argv| command(argv, errors));
        let reload = section.strings("reload").inspect(|argv| command(argv, errors));
        let restart = section.boolean("restart");
        section.finish();
        Self {
            fullchain,
            key,
            chain,
            combined,
            chain_first,
            forms,
            in_place,
            server,
            rights,
            rights_of_server,
            test,
            reload,
            restart,
            flawed: errors.count() > before,
        }
    }

    /// # Errors
    /// The keys that no layer has, each with an example.
    pub(super) fn resolve<'a>(
        layers: &[&'a Self],
        filled: &Filled<'_>,
    ) -> Result<Resolved<'a>, Vec<(&'static str, &'static str)>> {
        let fullchain = layers.iter().find_map(|layer| layer.fullchain.as_ref());
        let key = layers.iter().find_map(|layer| layer.key.as_ref());
        let chain = layers.iter().find_map(|layer| layer.chain.as_ref());
        let combined = layers.iter().find_map(|layer| layer.combined.as_ref());
        let in_place = layers.iter().find_map(|layer| layer.in_place).unwrap_or_default();
        // The first server that is named stands behind its own layer and before those below, which may be another's.
        let named = layers.iter().position(|layer| layer.server.is_some());
        let server = named.and_then(|place| layers[place].server);
        let above = &layers[..named.map_or(layers.len(), |place| place + 1)];
        let test = above.iter().find_map(|layer| layer.test.as_ref());
        let reload = above.iter().find_map(|layer| layer.reload.as_ref());
        let (Some(fullchain), Some(key), true, true) =
            (fullchain, key, test.is_some() || server.is_some(), reload.is_some() || server.is_some())
        else {
            let examples = [
                (fullchain.is_none(), "fullchain", "fullchain = \"/etc/nginx/ssl/{name}/fullchain.pem\""),
                (key.is_none(), "key", "key = \"/etc/nginx/ssl/{name}/privkey.pem\""),
                (test.is_none() && server.is_none(), "test", "test = [\"nginx\", \"-t\"]"),
                (reload.is_none() && server.is_none(), "reload", "reload = [\"systemctl\", \"reload\", \"nginx\"]"),
            ];
            return Err(examples
                .into_iter()
                .filter(|(absent, ..)| *absent)
                .map(|(_, key, write)| (key, write))
                .collect());
        };
        let fill = |text: &Spanned<String>| filled.fill(&text.value);
        let (forms, written_forms) =
            FormsSpec::resolve(layers.iter().map(|layer| &layer.forms), fill).map_err(|missing| vec![missing])?;
        let argv = |words: &Spanned<Vec<Spanned<String>>>| words.value.iter().map(fill).collect::<Vec<String>>();
        let of_server = |command: fn(&Server, &str, &str) -> Vec<String>| {
            server.map(|server| command(server, &fill(fullchain), &fill(key))).unwrap_or_default()
        };
        let rights = layers.iter().enumerate().flat_map(|(place, layer)| {
            let of_server = (named == Some(place)).then_some(&layer.rights_of_server);
            core::iter::once(&layer.rights).chain(of_server)
        });
        let restart = layers.iter().find_map(|layer| layer.restart);
        let install = Install {
            fullchain: fill(fullchain),
            key: fill(key),
            chain: chain.map(fill),
            combined: combined.map(fill),
            chain_first: layers.iter().find_map(|layer| layer.chain_first).unwrap_or_default(),
            forms,
            in_place,
            rights: RightsSpec::resolve(rights),
            test: test.map_or_else(|| of_server(|server, _, _| server.test()), argv),
            reload: reload.map_or_else(|| of_server(Server::reload), argv),
            restart: restart.unwrap_or(reload.is_none() && server.is_some_and(Server::restarts)),
            server,
        };
        Ok(Resolved { install, fullchain, key, chain, combined, forms: written_forms })
    }
}

fn server(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<&'static Server> {
    let found = Server::named(&written.value);
    if found.is_none() {
        let names = SERVERS.each_ref().map(|server| server.name);
        let near = nearest(&written.value, &names).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        let what = format!("{:?} is no server that certd knows{near}", written.value);
        errors.at(
            written,
            what,
            format!("one of {}; or test, reload, owner and group by themselves", names.join(", ")),
        );
    }
    found
}

/// Whether the chain comes first.
fn combined_order(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<bool> {
    match written.value.as_str() {
        "key-first" => Some(false),
        "chain-first" => Some(true),
        other => {
            errors.at(written, format!("{other:?} is no order of a combined file"), "\"key-first\" or \"chain-first\"");
            None
        }
    }
}

fn command(argv: &Spanned<Vec<Spanned<String>>>, errors: &ConfigErrors<'_>) {
    let Some(program) = argv.value.first() else {
        errors.at(argv, "is empty, and something has to run", "[\"program\", \"argument\"]");
        return;
    };
    if argv.value.len() == 1 && program.value.contains(' ') {
        let words: Vec<String> = program.value.split_whitespace().map(|word| format!("{word:?}")).collect();
        let what = "is one word with spaces in it; a command is a list of words, and no shell takes it apart";
        errors.at(program, what, format!("[{}]", words.join(", ")));
        return;
    }
    for word in &argv.value {
        if !printable(word, errors) || !placeholders(word, errors) {
            continue;
        }
        if word.value.len() > LONGEST_ARGUMENT {
            errors.at(word, "is too long an argument", format!("at most {LONGEST_ARGUMENT} bytes"));
        }
    }
}

/// `{domain}` is an error; awk's `{print $1}` is not.
fn placeholders(text: &Spanned<String>, errors: &ConfigErrors<'_>) -> bool {
    let inside = text.value.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(inside, _)| inside);
    let word = |inside: &&str| !inside.is_empty() && inside.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
    let Some(unknown) = inside.filter(word).find(|inside| !["name", "key_type"].contains(inside)) else { return true };
    let what = format!("has the placeholder {:?}, which does not exist", format!("{{{unknown}}}"));
    errors.at(text, what, "{name}, the certificate's name, or {key_type}, such as ecdsa-p256");
    false
}

impl Install {
    /// Whether processes from before a reload may answer for a moment after it: not where that is a restart, or where the
    /// server reads its files at each connection. Of an unknown server everything is assumed.
    pub fn has_old_workers(&self) -> bool {
        !self.restart && !self.server.is_some_and(|server| server.rereads)
    }
}
