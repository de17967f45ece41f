//! The node program as it travels: without comments and indentation and with short names, at the head of the dialogue.

use core::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

macro_rules! bootstrap {
    () => {
        r#"unset p ahead; IFS= read -r l || exit 9; n=$(printf "\n\036"); s=${n#?}; n=${n%?}; p=$l$n; ahead=$(dd "bs=${l##*size=}" count=1 iflag=fullblock 2>/dev/null); case $ahead in "") while IFS= read -r l || exit 9; do [ "$l" = END ] && break; p=$p$l$n; done;; *"$s"*) IFS=$s; set -f; set -- $ahead; set +f; unset IFS; p=$p$1; ahead=${2#?END?}$n; set --;; *) exit 9;; esac; eval "$p""#
    };
}

/// What the SSH exec runs. One line that dash, ash, bash, fish and csh parse alike; it takes the program from stdin: as many
/// bytes as the first line says, by a dd that takes none beyond them, and where dd is none that does, by the `read` builtin,
/// which leaves the rest of stdin alone but reads a byte at a time. What came along behind the program, after the
/// [separator](SEPARATOR), is in `ahead`, which no login may have exported. Nothing that is a secret may stand here: it is in
/// argv.
pub const BOOTSTRAP: &str = concat!("exec sh -c '", bootstrap!(), "'");

pub(super) use bootstrap;

pub(super) const SOURCE: &str = include_str!("receive.sh");

/// What a look has besides, where the program has its marker. A delivery does not carry it.
const OF_LOOKS: &str = include_str!("look.sh");
const LOOK_MARKER: &str = "#@look\n";

/// What it has besides where a certificate has further forms.
const OF_FORMS: &str = include_str!("forms.sh");
const FORMS_MARKER: &str = "#@forms\n";

/// The whole of the program.
pub(super) fn whole() -> String {
    SOURCE.replace(LOOK_MARKER, OF_LOOKS).replace(FORMS_MARKER, OF_FORMS)
}

/// The version that the first line of the program sets, and that the parameters begin with.
pub(super) const VERSION: &str = "3";

/// The program of a delivery, ended by the line at which the bootstrap stops reading. `forms`: of further forms too.
pub(super) fn program(forms: bool) -> String {
    travelling(&without(SOURCE, "# --- look", FORMS_MARKER), forms)
}

/// The program of a look, ended so too.
pub(super) fn program_of_looks(forms: bool) -> String {
    travelling(&without(SOURCE, "# --- prepare", "# --- look").replace(LOOK_MARKER, OF_LOOKS), forms)
}

fn travelling(source: &str, forms: bool) -> String {
    compact(&source.replace(FORMS_MARKER, if forms { OF_FORMS } else { "" })) + SEPARATOR + "END\n"
}

/// The source without its sections from one heading to another.
fn without(source: &str, from: &str, to: &str) -> String {
    let (before, rest) = source.split_once(from).unwrap_or((source, ""));
    let (_, after) = rest.split_once(to).unwrap_or_default();
    [before, to, after].concat()
}

/// Where the bootstrap parts what it has read in one go: a comment, should it come to be executed.
pub const SEPARATOR: &str = "#\x1e\n";

/// The parts of what is sent in one go, with the number of bytes that follow the first line in that line, for the bootstrap.
/// Joined in one step and as long as it is: no half-filled copy with a key is left behind by growing.
pub fn sized(parts: &[&str]) -> Zeroizing<Vec<u8>> {
    let (first, rest) = parts.split_first().map_or(("", parts), |(first, rest)| (*first, rest));
    let (line, after) = first.split_once('\n').unwrap_or((first, ""));
    let size = after.len() + rest.iter().map(|part| part.len()).sum::<usize>();
    let line = format!("{line} size={size}\n");
    Zeroizing::new([&[&*line, after], rest].concat().concat().into_bytes())
}

/// A program as it travels: no indentation, no comment lines, no empty lines, and short names. The program has no
/// here-document and no text over several lines, which stripping could change.
pub fn compact(source: &str) -> String {
    squeeze(&shorten(&strip(source)))
}

/// Operators need no blanks beside them, and the most frequent path gets a name. Lines with an arrow show a command to a
/// person, and stay.
fn squeeze(program: &str) -> String {
    let mut squeezed = String::with_capacity(program.len());
    for (number, line) in program.lines().enumerate() {
        let line = if line.contains("->") { line.to_owned() } else { without_blanks(line) };
        squeezed.extend([&*if in_quotes(&line, NULL) { line } else { line.replace(NULL, "$N") }, "\n"]);
        // The first line is the protocol's version.
        if number == 0 {
            squeezed.extend(["N=", NULL, "\n"]);
        }
    }
    squeezed
}

/// Called `N` as the program travels; no short name is.
const NULL: &str = "/dev/null";

/// In single quotes, where no name is expanded.
fn in_quotes(line: &str, word: &str) -> bool {
    line.split('\'').skip(1).step_by(2).any(|text| text.contains(word))
}

fn without_blanks(line: &str) -> String {
    let mut dense = String::with_capacity(line.len());
    let mut quote = None;
    for part in line.split_inclusive(QUOTES) {
        if quote.is_some() {
            dense.push_str(part);
        } else {
            let operators = [(" || ", "||"), (" && ", "&&"), (" | ", "|"), (" ;;", ";;"), ("; ", ";")];
            let part = operators.into_iter().fold(part.to_owned(), |part, (spaced, short)| part.replace(spaced, short));
            dense.push_str(&part);
        }
        let Some(text) = part.strip_suffix(QUOTES) else { break };
        let mark = part[text.len()..].chars().next();
        if quote.is_none() || quote == mark && (mark == Some('\'') || !text.ends_with('\\')) {
            quote = if quote.is_none() { mark } else { None };
        }
    }
    dense
}

const QUOTES: [char; 2] = ['\'', '"'];

fn strip(source: &str) -> String {
    let kept = source.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    kept.flat_map(|line| [line, "\n"]).collect()
}

/// Every [own name](is_own) becomes a short one. The short names go to those that save most, and the order is otherwise
/// the alphabet's: the same program always gives the same text.
fn shorten(program: &str) -> String {
    let names = short_names(program);
    let mut short = String::with_capacity(program.len());
    for (before, word) in words(program) {
        short.push_str(if is_own(before, word) { names.get(word).map_or(word, String::as_str) } else { word });
    }
    short
}

/// A short name is a word that the program has nowhere, not even in a text or an option, so it cannot collide.
fn short_names(program: &str) -> BTreeMap<&str, String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    for (before, word) in words(program) {
        taken.insert(word);
        if is_own(before, word) {
            *counts.entry(word).or_default() += 1;
        }
    }
    let mut names: Vec<(&str, usize)> = counts.into_iter().collect();
    names.sort_by_key(|(name, count)| (Reverse(name.len() * count), *name));
    // No command and no word of the shell is a lower-case letter before an upper-case one.
    let letters = || ('a'..='z').chain('A'..='Z').map(String::from);
    let pairs = ('a'..='z').flat_map(|first| ('A'..='Z').map(move |second| format!("{first}{second}")));
    let free = letters().chain(pairs).filter(|short| short != "N" && !taken.contains(short.as_str()));
    names.into_iter().map(|(name, _)| name).zip(free).collect()
}

/// A variable or a function of the program's: lower-case words joined by underscores. Nothing else in it is written so
/// but a file of /proc, which comes after a slash.
fn is_own(before: Option<char>, word: &str) -> bool {
    before != Some('/')
        && word.contains('_')
        && word.split('_').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase()))
}

/// The runs of name characters and the runs between them, each with the character before it.
fn words(text: &str) -> impl Iterator<Item = (Option<char>, &str)> {
    let mut rest = text;
    let mut before = None;
    core::iter::from_fn(move || {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let first = rest.chars().next()?;
        let end = rest.find(|c| is_name(c) != is_name(first)).unwrap_or(rest.len());
        let (word, after) = rest.split_at_checked(end)?;
        rest = after;
        Some((core::mem::replace(&mut before, word.chars().next_back()), word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_stays_small() {
        // Measured at 150 ms: 12 kB of program and a chain of six certificates went out in one flight, since the window
        // of a connection (ten segments at first, RFC 6928) has grown while the session was set up. What this size costs
        // was not measured; the window doubles with each round trip.
        for (program, most) in [
            (program(false), 30_000),
            (program(true), 33_000),
            (program_of_looks(false), 32_000),
            (program_of_looks(true), 35_000),
        ] {
            assert!(program.len() < most, "{} of {most}", program.len());
        }
    }

    #[test]
    fn no_line_of_the_program_ends_it_early_or_loses_its_version() {
        for program in [program(false), program(true), program_of_looks(false), program_of_looks(true)] {
            is_whole(&program);
        }
        assert!(!whole().contains("<<"), "a here-document is a temporary file in some shells");
        assert!(program_of_looks(false).contains("letsencrypt") && !program(true).contains("letsencrypt"));
        assert!(program(true).contains("-export") && !program_of_looks(false).contains("-export"));
    }

    fn is_whole(program: &str) {
        assert_eq!(program.lines().filter(|line| *line == "END").count(), 1);
        assert_eq!(program.lines().next(), Some(&*format!("certd={VERSION}")));
    }

    #[test]
    fn short_names_are_a_plain_substitution_that_can_be_undone() {
        let stripped = strip(&whole());
        let names = short_names(&stripped);
        let longs: BTreeMap<&str, &str> = names.iter().map(|(long, short)| (short.as_str(), *long)).collect();
        assert_eq!(longs.len(), names.len(), "no two names became one");
        let words = |text: &str| words(text).map(|(_, word)| word.to_owned()).collect::<Vec<_>>();
        let (before, after) = (words(&stripped), words(&shorten(&stripped)));
        assert!(longs.keys().all(|short| !before.iter().any(|word| word == short)), "no short name was there before");
        let restored: String = after.iter().map(|word| longs.get(word.as_str()).copied().unwrap_or(word)).collect();
        assert_eq!(restored, stripped);
        assert!(!after.iter().any(|word| names.contains_key(word.as_str())), "none is left long");
        assert!(stripped.contains("/random/boot_id ") && shorten(&stripped).contains("/random/boot_id "));
    }

    #[test]
    fn blanks_beside_operators_and_a_path_are_all_that_is_squeezed() {
        assert_eq!(
            squeeze("certd=3\n[ \"$a\" ] && b || { c; } 2>/dev/null\ncase $x in a | b) ;; esac\nsay \"-> a && b\"\n"),
            "certd=3\nN=/dev/null\n[ \"$a\" ]&&b||{ c;} 2>$N\ncase $x in a|b);;esac\nsay \"-> a && b\"\n"
        );
        let texts = r#"a 'b; "c; d' "e; 'f; \"g; h""#;
        assert_eq!(without_blanks(&format!("{texts}; l; m")), format!("{texts};l;m"));
        assert!(words(&shorten(&strip(&whole()))).all(|(_, word)| word != "N"));
        assert!(squeeze("certd=3\nsh -c 'a 2>/dev/null' x\n").ends_with("\nsh -c 'a 2>/dev/null' x\n"));
    }

    #[test]
    fn names_are_found_wherever_a_shell_reads_them() {
        // `a` is an option here, and so no short name.
        let long = "all='base_dir new_gen'\neval \"x=\\${base_dir$j%/*}\"\nfor base_dir; do [ ${#base_dir} -a 1 ]; done\n\
                    way_up=../$way_up LC_ALL=C no_Name _not no__name /proc/boot_id $((way_up += 1))\n";
        let short = "all='b d'\neval \"x=\\${b$j%/*}\"\nfor b; do [ ${#b} -a 1 ]; done\n\
                     c=../$c LC_ALL=C no_Name _not no__name /proc/boot_id $((c += 1))\n";
        assert_eq!(shorten(long), short);
    }

    #[test]
    fn no_variable_of_the_program_is_a_single_letter() {
        for (before, word) in words(&strip(&whole())) {
            let variable = matches!(before, Some('$' | '{')) && word.starts_with(|c: char| c.is_ascii_alphabetic());
            assert!(!variable || word.len() > 1, "{word}");
        }
    }
}
