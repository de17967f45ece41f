//! `nginx -T`: every file of the configuration, each behind a comment with its path; `include` is not resolved in it.

use std::collections::BTreeMap;

use super::{Files, LONGEST_PATH, MOST_BYTES, MOST_PAIRS, MOST_SITES, Room, Site};
use crate::text::escape;

/// Of includes in one another.
const DEEPEST: usize = 20;
/// Directives in all, included ones as often as they are included, and comparisons of a pattern with a path.
const MOST: usize = 200_000;
/// Steps of a comparison that count as one directive.
const STEPS: usize = 256;
const FILE: &str = "# configuration file ";

struct Directive {
    words: Vec<String>,
    /// Empty for one that ends with `;`.
    block: Vec<Self>,
}

/// What of a block counts, with its includes in place.
#[derive(Default)]
struct Flat<'a> {
    directives: Vec<&'a Directive>,
}

struct Text<'a> {
    files: BTreeMap<&'a str, Vec<Directive>>,
    /// Of relative paths.
    folder: &'a str,
}

pub(super) fn sites(output: &str) -> Vec<Site> {
    let parts = files(output);
    let Some((main, _)) = parts.first() else { return Vec::new() };
    let folder = main.rsplit_once('/').map_or("", |(folder, _)| folder);
    let files = parts.iter().map(|(path, text)| (*path, parse(&mut Words::new(text), 0))).collect();
    let text = Text { files, folder };
    let (mut left, mut room) = (MOST, Room(MOST_BYTES));
    let mut sites = Vec::new();
    for http in text.flat(text.files.get(main).into_iter().flatten(), 0, &mut left).blocks("http") {
        let http = text.flat(http, 0, &mut left);
        let inherited: Vec<Files> = text.pairs(&http).take(MOST_PAIRS).collect();
        for server in http.blocks("server") {
            let server = text.flat(server, 0, &mut left);
            let listens: Vec<&[String]> = server.named("listen").collect();
            let is_tls = |words: &&[String]| words.iter().any(|word| word == "ssl" || word == "quic");
            let switched_on = server.named("ssl").any(|words| words == ["on"]);
            if !switched_on && !listens.iter().any(is_tls) {
                continue;
            }
            let own = room.files(text.pairs(&server));
            let default = |words: &&[String]| words.iter().any(|word| word == "default_server" || word == "default");
            sites.push(Site {
                names: room.texts(server.named("server_name").flatten().map(String::as_str)),
                is_default: listens.iter().any(default),
                files: if own.is_empty() { room.files(inherited.iter().cloned()) } else { own },
            });
            if sites.len() == MOST_SITES || !room.take(0) {
                return sites;
            }
        }
    }
    sites
}

/// The files with their texts, the main one first.
pub(super) fn files(output: &str) -> Vec<(&str, &str)> {
    let mut files = Vec::new();
    let mut starts = Vec::new();
    let mut at = 0;
    for line in output.split_inclusive('\n') {
        let path = line.trim_end().strip_prefix(FILE).and_then(|rest| rest.strip_suffix(':'));
        if let Some(path) = path.filter(|path| path.starts_with('/')) {
            starts.push((path, at, at + line.len()));
        }
        at += line.len();
    }
    for (index, (path, _, start)) in starts.iter().enumerate() {
        let end = starts.get(index + 1).map_or(output.len(), |(_, begin, _)| *begin);
        files.push((*path, &output[*start..end]));
    }
    files
}

impl<'a> Text<'a> {
    fn flat(&'a self, block: impl IntoIterator<Item = &'a Directive>, depth: usize, left: &mut usize) -> Flat<'a> {
        let mut flat = Flat::default();
        for directive in block {
            let Some(less) = left.checked_sub(1) else { break };
            *left = less;
            match directive.words.as_slice() {
                [word, pattern] if word == "include" && depth < DEEPEST => {
                    let pattern = self.absolute(pattern);
                    for block in self.included(&pattern, left) {
                        flat.directives.extend(self.flat(block, depth + 1, left).directives);
                    }
                }
                _ => flat.directives.push(directive),
            }
        }
        flat
    }

    fn included(&'a self, pattern: &str, left: &mut usize) -> Vec<&'a Vec<Directive>> {
        if !pattern.contains(['*', '?', '[']) {
            return self.files.get(pattern).into_iter().collect();
        }
        let mut included = Vec::new();
        for (path, block) in self.files.iter().filter(|(path, _)| path.len().max(pattern.len()) <= LONGEST_PATH) {
            let steps = 1 + pattern.len() * (pattern.len() + path.len()) / STEPS;
            let Some(less) = left.checked_sub(steps) else { break };
            *left = less;
            included.extend(matches(pattern, path).then_some(block));
        }
        included
    }

    fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", self.folder) }
    }

    fn pairs<'b>(&'b self, block: &'b Flat<'a>) -> impl Iterator<Item = Files> + 'b {
        let fullchains = block.named("ssl_certificate").filter_map(|words| words.first());
        let keys = block.named("ssl_certificate_key").filter_map(|words| words.first());
        fullchains.zip(keys).map(move |(fullchain, key)| self.pair(fullchain, key))
    }

    fn pair(&self, fullchain: &str, key: &str) -> Files {
        for path in [fullchain, key] {
            if path.contains('$') {
                let path = escape(path, 200);
                return Files::Unusable(format!(
                    "the server's path {path} has a variable: write the path that it stands for, and let the worker's \
                     user read the key (group, key_mode)"
                ));
            }
            if ["data:", "engine:", "store:"].iter().any(|scheme| path.starts_with(scheme)) {
                return Files::Unusable("the server takes the certificate from no file".to_owned());
            }
        }
        Files::pair(&self.absolute(fullchain), &self.absolute(key))
    }
}

impl<'a> Flat<'a> {
    fn blocks(&self, name: &str) -> impl Iterator<Item = &'a [Directive]> {
        self.directives.iter().filter(move |it| it.words.first().is_some_and(|word| word == name)).map(|it| &*it.block)
    }

    /// The arguments of each.
    fn named<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'a [String]> + 'b {
        let of_name = move |it: &&'a Directive| Some(it.words.split_first()?).filter(|(word, _)| *word == name);
        self.directives.iter().filter_map(of_name).map(|(_, arguments)| arguments)
    }
}

/// glob(3), where `*` and `?` stand for what is no `/`; a set in brackets stands for one character.
fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<char>, Vec<char>) = (pattern.chars().collect(), path.chars().collect());
    // Of each character of the pattern, which beginnings of the path match.
    let mut reached = vec![false; path.len() + 1];
    reached[0] = true;
    let mut at = 0;
    while at < pattern.len() {
        let mut next = vec![false; path.len() + 1];
        let end = pattern[at..].iter().position(|c| *c == ']').filter(|_| pattern[at] == '[');
        for place in 0..=path.len() {
            let here = path.get(place);
            match pattern[at] {
                '*' => next[place] = reached[place] || (place > 0 && next[place - 1] && path[place - 1] != '/'),
                wanted if reached[place] => {
                    let fits = here.is_some_and(|c| match wanted {
                        '?' => *c != '/',
                        '[' if end.is_some() => *c != '/',
                        wanted => *c == wanted,
                    });
                    if fits {
                        next[place + 1] = true;
                    }
                }
                _ => {}
            }
        }
        at += end.unwrap_or(0) + 1;
        reached = next;
    }
    reached[path.len()]
}

fn parse(words: &mut Words<'_>, depth: usize) -> Vec<Directive> {
    let mut directives = Vec::new();
    let mut current = Vec::new();
    while let Some(token) = words.next() {
        match token {
            Token::Word(word) => current.push(word),
            Token::End => directives.push(Directive { words: core::mem::take(&mut current), block: Vec::new() }),
            Token::Open if depth < DEEPEST => {
                let block = parse(words, depth + 1);
                directives.push(Directive { words: core::mem::take(&mut current), block });
            }
            Token::Open => return directives,
            Token::Close => return directives,
        }
    }
    directives
}

enum Token {
    Word(String),
    End,
    Open,
    Close,
}

/// As ngx_conf_read_token() reads: quotes only begin a word, a backslash escapes, `${` opens no block.
struct Words<'a> {
    rest: core::iter::Peekable<core::str::Chars<'a>>,
}

impl<'a> Words<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text.chars().peekable() }
    }

    fn next(&mut self) -> Option<Token> {
        loop {
            match self.rest.next()? {
                c if c.is_whitespace() => {}
                ';' => return Some(Token::End),
                '{' => return Some(Token::Open),
                '}' => return Some(Token::Close),
                '#' => _ = self.rest.by_ref().find(|c| *c == '\n'),
                quote @ ('"' | '\'') => return Some(Token::Word(self.quoted(quote))),
                first => return Some(Token::Word(self.bare(first))),
            }
        }
    }

    fn quoted(&mut self, quote: char) -> String {
        let mut word = String::new();
        while let Some(c) = self.rest.next() {
            match c {
                '\\' => self.escaped(&mut word),
                c if c == quote => break,
                c => word.push(c),
            }
        }
        word
    }

    fn bare(&mut self, first: char) -> String {
        let mut word = String::new();
        let mut next = Some(first);
        while let Some(c) = next {
            match c {
                '\\' => self.escaped(&mut word),
                c => word.push(c),
            }
            let before = c;
            next = self.rest.next_if(|c| match c {
                '{' => before == '$',
                c => !c.is_whitespace() && *c != ';',
            });
        }
        word
    }

    fn escaped(&mut self, word: &mut String) {
        match self.rest.next() {
            Some('n') => word.push('\n'),
            Some('r') => word.push('\r'),
            Some('t') => word.push('\t'),
            Some(c @ ('"' | '\'' | '\\')) => word.push(c),
            // Of a regular expression.
            Some(c) => word.extend(['\\', c]),
            None => {}
        }
    }
}
