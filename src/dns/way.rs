//! The way out for HTTPS to an API or a DoH server: the proxy, and whom to trust.

use reqwest::ClientBuilder;
use reqwest::redirect::Policy;

use super::DnsError;
use crate::config::Proxy;

/// Secrets are none of it but a password in a proxy's URL, which it does not show.
#[derive(Clone, Debug, Default)]
pub struct Way {
    pub proxy: Option<Proxy>,
    /// PEM of a root that is trusted beside the system's.
    pub ca_pem: Option<String>,
}

impl Way {
    /// A client that follows no redirect, and heeds no environment.
    pub(super) fn client(&self) -> Result<ClientBuilder, DnsError> {
        let client = |source| DnsError::Client { source };
        let builder = reqwest::Client::builder();
        let mut builder =
            builder.user_agent(concat!("certd/", env!("CARGO_PKG_VERSION"))).redirect(Policy::none()).no_proxy();
        if let Some(pem) = &self.ca_pem {
            builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(client)?);
        }
        if let Some(Proxy { url, except }) = &self.proxy {
            let proxy = reqwest::Proxy::all(url.clone()).map_err(client)?;
            builder = builder.proxy(proxy.no_proxy(reqwest::NoProxy::from_string(except)));
        }
        Ok(builder)
    }
}
