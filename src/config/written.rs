//! Reads the written form key by key. A section records the requested keys: those left over are unknown, and the most
//! similar requested key is suggested. (serde would stop at the first error, and loses the place of a value that may be a
//! text or a list.)

use toml::Spanned as TomlSpanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigErrors;

/// A value with its key and its place in the text.
#[derive(Clone, Debug)]
pub(super) struct Spanned<T> {
    pub(super) value: T,
    /// As in `node[2].host_key`; sections of a list are counted from 1.
    pub(super) key: String,
    /// Byte offset in the text.
    pub(super) place: usize,
}

impl<T> Spanned<T> {
    pub(super) fn with<U>(&self, value: U) -> Spanned<U> {
        Spanned { value, key: self.key.clone(), place: self.place }
    }

    /// A missing key of this section, at the section's place.
    pub(super) fn under(&self, key: &str) -> Spanned<()> {
        Spanned { value: (), key: format!("{}.{key}", self.key), place: self.place }
    }
}

/// A table that is being read. Call [`Section::finish`] after the last key.
pub(super) struct Section<'t> {
    /// Empty for the whole file.
    key: String,
    place: Option<usize>,
    table: DeTable<'t>,
    known: Vec<&'static str>,
    missing: Vec<(&'static str, String)>,
    errors: &'t ConfigErrors<'t>,
}

/// A list of texts, each with its place.
type Texts = Spanned<Vec<Spanned<String>>>;

pub(super) enum StringsOrSection<'t> {
    Strings(Texts),
    Section(Section<'t>),
}

pub(super) enum TextOrSection<'t> {
    Text(Spanned<String>),
    Section(Section<'t>),
}

/// A list of sections, with its place.
pub(super) struct Sections<'t> {
    pub(super) at: Spanned<()>,
    /// Nothing is written in it, not even what is no section.
    pub(super) is_empty: bool,
    pub(super) sections: Vec<Section<'t>>,
}

impl<'t> Section<'t> {
    pub(super) fn new(key: String, place: Option<usize>, table: DeTable<'t>, errors: &'t ConfigErrors<'t>) -> Self {
        Self { key, place, table, known: Vec::new(), missing: Vec::new(), errors }
    }

    /// An absent section, which yields the defaults and reports missing keys like an empty one.
    fn absent(key: String, errors: &'t ConfigErrors<'t>) -> Self {
        Self::new(key, None, DeTable::new(), errors)
    }

    /// The place of the section itself, for errors that concern it as a whole.
    pub(super) fn here(&self) -> Spanned<()> {
        Spanned { value: (), key: self.key.clone(), place: self.place.unwrap_or(0) }
    }

    pub(super) fn errors(&self) -> &'t ConfigErrors<'t> {
        self.errors
    }

    /// Marks a key as required; `write` is an example. Request its value next.
    pub(super) fn required(&mut self, key: &'static str, write: &str) {
        if self.table.get(key).is_none() {
            self.missing.push((key, write.to_owned()));
        }
    }

    pub(super) fn string(&mut self, key: &'static str) -> Option<Spanned<String>> {
        let value = self.take(key)?;
        self.as_string(value)
    }

    pub(super) fn integer(&mut self, key: &'static str) -> Option<Spanned<i64>> {
        let value = self.take(key)?;
        self.as_integer(&value)
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let value = self.take(key)?;
        match &value.value {
            DeValue::Boolean(truth) => Some(*truth),
            other => self.errors.none(
                &value,
                format!("is {}, should be true or false", kind(other)),
                "true or false, without quotes",
            ),
        }
    }

    /// A date or an instant, as a TOML value or as a text.
    pub(super) fn moment(&mut self, key: &'static str) -> Option<Spanned<String>> {
        let value = self.take(key)?;
        match &value.value {
            DeValue::Datetime(moment) => Some(value.with(moment.to_string())),
            _ => self.as_string(value),
        }
    }

    /// A text, or a whole number as its digits.
    pub(super) fn text_or_number(&mut self, key: &'static str) -> Option<Spanned<String>> {
        let value = self.take(key)?;
        match &value.value {
            DeValue::Integer(digits) => Some(value.with(digits.as_str().to_owned())),
            _ => self.as_string(value),
        }
    }

    pub(super) fn strings(&mut self, key: &'static str) -> Option<Texts> {
        let value = self.take(key)?;
        let at = value.with(());
        match value.value {
            DeValue::Array(values) => Some(at.with(self.elements(&at, values))),
            other => self.errors.none(&at, format!("is {}, should be a list of texts", kind(&other)), "[\"…\", \"…\"]"),
        }
    }

    /// A list of texts, or a section.
    pub(super) fn strings_or_section(&mut self, key: &'static str) -> Option<StringsOrSection<'t>> {
        let value = self.take(key)?;
        let at = value.with(());
        match value.value {
            DeValue::Array(values) => Some(StringsOrSection::Strings(at.with(self.elements(&at, values)))),
            DeValue::Table(_) => self.as_section(value).map(StringsOrSection::Section),
            other => {
                let what = format!("is {}, should be a list of texts or a section", kind(&other));
                self.errors.none(&at, what, "[\"…\", \"…\"], or { key = … }")
            }
        }
    }

    /// `{ "any name" = "…", … }`: one text or a list of them for each name.
    pub(super) fn texts_by_name(&mut self, key: &'static str) -> Vec<(Spanned<String>, Texts)> {
        let texts = self.entries(key).into_iter().map(|(name, value)| {
            let at = value.with(());
            let list = match value.value {
                DeValue::Array(values) => self.elements(&at, values),
                _ => self.as_string(value).into_iter().collect(),
            };
            (name, at.with(list))
        });
        texts.collect()
    }

    /// One text, or a list of them.
    pub(super) fn one_or_more(&mut self, key: &'static str) -> Option<Texts> {
        let value = self.take(key)?;
        let at = value.with(());
        if let DeValue::Array(values) = value.value {
            return Some(at.with(self.elements(&at, values)));
        }
        let one = self.as_string(value)?;
        Some(at.with(vec![one]))
    }

    /// One whole number, or a list of them.
    pub(super) fn one_or_more_integers(&mut self, key: &'static str) -> Option<Spanned<Vec<Spanned<i64>>>> {
        let value = self.take(key)?;
        let at = value.with(());
        let values = match value.value {
            DeValue::Array(values) => {
                let numbered = values.into_iter().enumerate();
                numbered.map(|(index, value)| place_of(value, format!("{}[{}]", at.key, index + 1))).collect()
            }
            _ => vec![value],
        };
        let read: Vec<Spanned<i64>> = values.iter().filter_map(|value| self.as_integer(value)).collect();
        // What is no number was reported.
        (values.is_empty() || !read.is_empty()).then(|| at.with(read))
    }

    /// A key that is not allowed here, whatever its value.
    pub(super) fn anything(&mut self, key: &'static str) -> Option<Spanned<()>> {
        self.take(key).map(|value| value.with(()))
    }

    pub(super) fn section(&mut self, key: &'static str) -> Option<Self> {
        let value = self.take(key)?;
        self.as_section(value)
    }

    /// As [`Section::section`]; an absent one is empty.
    pub(super) fn section_or_empty(&mut self, key: &'static str) -> Self {
        let path = self.path(key);
        self.section(key).unwrap_or_else(|| Self::absent(path, self.errors))
    }

    /// `[[key]]`, in order.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Self> {
        let Some(Spanned { value, key: path, place }) = self.take(key) else { return Vec::new() };
        let DeValue::Array(values) = value else {
            let at = Spanned { value: (), key: path, place };
            self.errors.at(&at, format!("is {}, should be a list of sections", kind(&value)), format!("[[{key}]]"));
            return Vec::new();
        };
        let numbered = values.into_iter().enumerate();
        let placed = numbered.map(|(index, value)| place_of(value, format!("{path}[{}]", index + 1)));
        placed.filter_map(|value| self.as_section(value)).collect()
    }

    /// A section, or a list of them.
    pub(super) fn section_or_sections(&mut self, key: &'static str) -> Option<Result<Self, Sections<'t>>> {
        let value = self.take(key)?;
        let at = value.with(());
        let DeValue::Array(values) = value.value else { return self.as_section(value).map(Ok) };
        let is_empty = values.is_empty();
        let numbered = values.into_iter().enumerate();
        let placed = numbered.map(|(index, value)| place_of(value, format!("{}[{}]", at.key, index + 1)));
        let sections = placed.filter_map(|value| self.as_section(value)).collect();
        Some(Err(Sections { at, is_empty, sections }))
    }

    /// A text or a section, or a list of both.
    pub(super) fn texts_or_sections(&mut self, key: &'static str) -> Option<Vec<TextOrSection<'t>>> {
        let Spanned { value, key, place } = self.take(key)?;
        let values = match value {
            DeValue::Array(values) => {
                let numbered = values.into_iter().enumerate();
                numbered.map(|(index, value)| place_of(value, format!("{key}[{}]", index + 1))).collect()
            }
            value => vec![Spanned { value, key, place }],
        };
        let each = values.into_iter().filter_map(|value| match &value.value {
            DeValue::Table(_) => self.as_section(value).map(TextOrSection::Section),
            _ => self.as_string(value).map(TextOrSection::Text),
        });
        Some(each.collect())
    }

    /// True, or a text.
    pub(super) fn flag_or_string(&mut self, key: &'static str) -> Option<Result<bool, Spanned<String>>> {
        let value = self.take(key)?;
        match &value.value {
            DeValue::Boolean(flag) => Some(Ok(*flag)),
            _ => self.as_string(value).map(Err),
        }
    }

    /// `[key."any name"]`: the sections under a key, each with its name.
    pub(super) fn named(&mut self, key: &'static str) -> Vec<(Spanned<String>, Self)> {
        let entries = self.entries(key).into_iter();
        entries.filter_map(|(name, value)| Some((name, self.as_section(value)?))).collect()
    }

    /// The sections under names that are no keys: what is left, so request every key before.
    pub(super) fn other_sections(&mut self) -> Vec<(Spanned<String>, Self)> {
        let is_section = |value: &TomlSpanned<DeValue<'t>>| matches!(value.get_ref(), DeValue::Table(_));
        let left = core::mem::take(&mut self.table).into_iter();
        let (sections, keys): (Vec<_>, Vec<_>) = left.partition(|(_, value)| is_section(value));
        self.table = keys.into_iter().collect();
        let named = sections.into_iter().filter_map(|(name, value)| {
            let key = self.path(&bare_or_quoted(name.get_ref()));
            let name = Spanned { value: name.get_ref().to_string(), key: key.clone(), place: name.span().start };
            Some((name, self.as_section(place_of(value, key))?))
        });
        named.collect()
    }

    /// The values under a key, each with its name.
    fn entries(&mut self, key: &'static str) -> Vec<(Spanned<String>, Spanned<DeValue<'t>>)> {
        let Some(section) = self.section(key) else { return Vec::new() };
        let entries = section.table.into_iter().map(|(name, value)| {
            let value = place_of(value, format!("{}.{:?}", section.key, name.get_ref()));
            let (key, place) = (value.key.clone(), name.span().start);
            (Spanned { value: name.get_ref().to_string(), key, place }, value)
        });
        entries.collect()
    }

    /// Reports unknown and missing keys. A missing key that an unknown one resembles was mistyped, and is not reported again.
    pub(super) fn finish(self) {
        let mut resembled = Vec::new();
        for (unknown, _) in &self.table {
            let name = unknown.get_ref();
            let nearest = nearest(name, &self.known);
            let (what, write) = match nearest {
                Some(near) => (format!("unknown key; did you mean {near:?}?"), near.to_owned()),
                None => ("unknown key".to_owned(), format!("one of {}", self.known.join(", "))),
            };
            resembled.extend(nearest);
            self.errors.add(Some(unknown.span().start), &self.path(&bare_or_quoted(name)), what, write);
        }
        for (key, write) in &self.missing {
            if !resembled.contains(key) {
                self.errors.add(self.place, &self.path(key), "is missing", write.as_str());
            }
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'t>>> {
        self.known.push(key);
        let value = self.table.remove(key)?;
        Some(place_of(value, self.path(key)))
    }

    fn path(&self, key: &str) -> String {
        if self.key.is_empty() { key.to_owned() } else { format!("{}.{key}", self.key) }
    }

    fn elements(
        &self,
        list: &Spanned<()>,
        values: impl IntoIterator<Item = TomlSpanned<DeValue<'t>>>,
    ) -> Vec<Spanned<String>> {
        let numbered = values.into_iter().enumerate();
        let placed = numbered.map(|(index, value)| place_of(value, format!("{}[{}]", list.key, index + 1)));
        placed.filter_map(|value| self.as_string(value)).collect()
    }

    fn as_integer(&self, value: &Spanned<DeValue<'t>>) -> Option<Spanned<i64>> {
        match &value.value {
            DeValue::Integer(digits) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
                Ok(number) => Some(value.with(number)),
                Err(_) => self.errors.none(value, "is too large a number", "a smaller one"),
            },
            other => {
                let what = format!("is {}, should be a whole number", kind(other));
                self.errors.none(value, what, "a number without quotes")
            }
        }
    }

    fn as_string(&self, value: Spanned<DeValue<'t>>) -> Option<Spanned<String>> {
        match &value.value {
            DeValue::String(text) => Some(value.with(text.to_string())),
            other => self.errors.none(&value, format!("is {}, should be a text", kind(other)), "\"…\", in quotes"),
        }
    }

    fn as_section(&self, value: Spanned<DeValue<'t>>) -> Option<Self> {
        let Spanned { value, key, place } = value;
        match value {
            DeValue::Table(table) => Some(Self::new(key, Some(place), table, self.errors)),
            other => {
                let what = format!("is {}, should be a section", kind(&other));
                self.errors.none(&Spanned { value: (), key, place }, what, "{ key = …, key = … }")
            }
        }
    }
}

/// The candidate that is most similar to `text`, if one is similar enough.
pub fn nearest<'a>(text: &str, candidates: &[&'a str]) -> Option<&'a str> {
    /// From 0 (nothing in common) to 1 (equal). `identity_file` for `identity_files` is 0.93, `cert` for `contact` 0.43.
    const ALIKE: f64 = 0.6;
    let scored =
        candidates.iter().map(|candidate| (strsim::normalized_damerau_levenshtein(text, candidate), *candidate));
    scored.filter(|(score, _)| *score >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, candidate)| candidate)
}

fn place_of(value: TomlSpanned<DeValue<'_>>, key: String) -> Spanned<DeValue<'_>> {
    let place = value.span().start;
    Spanned { value: value.into_inner(), key, place }
}

fn bare_or_quoted(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { key.to_owned() } else { format!("{key:?}") }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}
