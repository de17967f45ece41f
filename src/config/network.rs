//! `[network]`: the proxy for requests of this machine, and a root that they trust.

use core::fmt;
use std::path::PathBuf;

use url::Url;

use super::value::{local_path, url};
use super::written::Section;

/// The first of these that is set and not empty counts. (`HTTP_PROXY` is for `http://`, which certd does not use.)
const VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// A proxy of the environment is not for requests that stay on this machine.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

#[derive(Clone, Debug, Default)]
pub struct Network {
    /// For the CA, the API and DoH; never for SSH and probes.
    pub proxy: Option<Proxy>,
    /// PEM root that these requests trust beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// A proxy. If it comes from the environment, its URL may hold a password, which `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// `http`, `https`, `socks5` or `socks5h`.
    pub url: Url,
    /// Hosts, domains and networks that are reached without it, as `NO_PROXY` lists them; empty: none.
    pub except: String,
}

pub(super) fn read(mut section: Section<'_>) -> Network {
    let errors = section.errors();
    // socks5:// would look names up here, where a proxy is usually needed because that fails.
    let proxy = section.string("proxy").and_then(|proxy| url(&proxy, &["http", "https", "socks5h"], errors));
    let ca_file = section.string("ca_file").and_then(|path| local_path(&path, errors));
    section.finish();
    Network { proxy: proxy.map(|url| Proxy { url, except: String::new() }), ca_file }
}

impl Proxy {
    /// The proxy of the environment, for a configuration without one. `variable`: gets a variable's value.
    ///
    /// # Errors
    /// The name of the variable whose value is not the URL of a proxy. (The value may hold a password.)
    pub fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, &'static str> {
        let set = |name: &&'static str| Some((*name, variable(name).filter(|value| !value.trim().is_empty())?));
        let Some((name, written)) = VARIABLES.iter().find_map(set) else { return Ok(None) };
        let written = written.trim();
        // curl(1): "If no protocol is specified in the proxy string […], the proxy is treated as an HTTP proxy."
        let url = if written.contains("://") { Url::parse(written) } else { Url::parse(&format!("http://{written}")) };
        let url = url.ok().filter(|url| {
            let scheme = matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h");
            scheme && url.host_str().is_some_and(|host| !host.is_empty())
        });
        let url = url.ok_or(name)?;
        let except = EXCEPTIONS.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()));
        let except = except.map_or_else(|| LOOPBACK.to_owned(), |except| format!("{except},{LOOPBACK}"));
        Ok(Some(Self { url, except }))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (self.url.host_str().unwrap_or_default(), self.url.port_or_known_default());
        write!(f, "Proxy({}://{host}:{}", self.url.scheme(), port.unwrap_or(1080))?;
        if self.except.is_empty() { write!(f, ")") } else { write!(f, ", not for {})", self.except) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(set: &[(&str, &str)]) -> Result<Option<Proxy>, &'static str> {
        let set: Vec<(String, String)> = set.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Proxy::of_environment(|name| set.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
    }

    #[test]
    fn the_environment_names_a_proxy_as_other_programs_read_it() {
        assert_eq!(proxy(&[("HTTP_PROXY", "http://p:1"), ("HTTPS_PROXY", "")]), Ok(None));
        let one =
            proxy(&[("ALL_PROXY", "socks5h://later"), ("https_proxy", "proxy.example.com:3128")]).unwrap().unwrap();
        assert_eq!((one.url.as_str(), one.except.as_str()), ("http://proxy.example.com:3128/", LOOPBACK));
        let one = proxy(&[("ALL_PROXY", "socks5h://p"), ("NO_PROXY", "corp.example")]).unwrap().unwrap();
        assert_eq!(one.except, format!("corp.example,{LOOPBACK}"));
    }

    #[test]
    fn an_invalid_variable_is_reported_by_its_name_alone() {
        assert_eq!(proxy(&[("HTTPS_PROXY", "ftp://me:secret@p")]), Err("HTTPS_PROXY"));
        assert_eq!(proxy(&[("all_proxy", "http://")]), Err("all_proxy"));
    }

    #[test]
    fn a_password_of_the_environment_is_not_shown() {
        let one = proxy(&[("HTTPS_PROXY", "http://me:secret@proxy.example.com:3128")]).unwrap().unwrap();
        assert_eq!(one.url.password(), Some("secret"));
        let shown = format!("{one:?}");
        assert_eq!(shown, format!("Proxy(http://proxy.example.com:3128, not for {LOOPBACK})"));
    }
}
