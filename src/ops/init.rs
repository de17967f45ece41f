//! What `certd init` does outside of its questions: it tries the DNS provider, looks for addresses, at host keys and at the
//! web servers of nodes, and writes its files at the very end. Only [`files`] changes this machine.

pub mod files;

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cert::{DnsName, NodeName};
use crate::config::{HostKey, Node};
use crate::context::Context;
use crate::context::effect_failure::of_dns;
use crate::context::failure::failure;
use crate::context::provider::{provider, resolvers};
use crate::dns::{self, TxtRecord, Zone, challenge_name};
use crate::import::Files;
use crate::model::{Advice, Finding, WebServers};
use crate::node;
use crate::node::receiver::ReceiverError;
use crate::observe::route::endpoint_at;
use crate::ssh::{self, Endpoint, Identity, SshError};

use super::import;

/// For the host keys of one node.
const KEYS: Duration = Duration::from_secs(20);
/// For the login and every server's own dump.
const LOOK: Duration = Duration::from_secs(90);
/// Nodes at once.
const AT_ONCE: usize = 8;

/// A TXT record is made and removed in the zone of each name. Let it come to its end: a record that is left over is nobody's.
///
/// # Errors
/// The first thing that would make an issuance fail.
pub async fn try_provider(context: &Context, domains: &[DnsName]) -> Result<Vec<String>, Finding> {
    let provider = provider(context, true)?;
    let (resolvers, _) = resolvers(context)?;
    let mut zones: BTreeMap<String, (Zone, String)> = BTreeMap::new();
    let bases: BTreeSet<&str> = domains.iter().map(DnsName::base).collect();
    for base in bases {
        let failed = |error| of_dns(base, &error);
        let name = resolvers.follow(&challenge_name(base)).await.map_err(failed)?;
        let apex = resolvers.apex(&name).await.ok();
        let zone = provider.zone(&name, apex.as_deref()).await.map_err(failed)?;
        zones.entry(zone.id.clone()).or_insert((zone, name));
    }
    let mut random = [0; 32];
    // Where there are none, TLS has failed before.
    let _ = aws_lc_rs::rand::fill(&mut random);
    for (zone, name) in zones.values() {
        let record = TxtRecord { name: name.clone(), value: BASE64_URL_SAFE_NO_PAD.encode(random) };
        let mut made = Vec::new();
        for result in provider.publish(zone, &[record]).await {
            made.push(result.map_err(|error| of_dns(name, &error))?);
        }
        for result in provider.remove(&made).await {
            result.map_err(|error| of_dns(name, &error))?;
        }
    }
    Ok(zones.into_iter().map(|(id, (zone, _))| zone.name.unwrap_or(id)).collect())
}

/// The addresses that the name's own servers show.
///
/// # Errors
/// The servers are not found, or none answers.
pub async fn addresses(context: &Context, name: &DnsName) -> Result<BTreeSet<IpAddr>, Finding> {
    let (resolvers, _) = resolvers(context)?;
    let found = dns::addresses(&resolvers, name.as_str()).await;
    found.map(|(_, answers)| dns::union(&answers)).map_err(|error| of_dns(name, &error))
}

/// The keys that each node shows, in the order of the nodes.
pub async fn host_keys(context: &Arc<Context>) -> Vec<(NodeName, Result<Vec<HostKey>, Finding>)> {
    each(context, |context, node| async move {
        let endpoint = endpoint(&context, &node).await?;
        let name = endpoint.node.clone();
        ssh::host_keys(endpoint, KEYS).await.map(|shown| shown.keys).map_err(|error| of_ssh(&name, &error))
    })
    .await
}

/// How an administrator logs in where that is not what certd will do.
#[derive(Clone, Default)]
pub struct Administrator {
    pub user: Option<String>,
    /// Empty: certd's own.
    pub identities: Vec<Identity>,
    pub agent: Option<PathBuf>,
}

/// The web servers of each node, in the order of the nodes.
pub async fn web_servers(
    context: &Arc<Context>,
    administrator: &Administrator,
) -> Vec<(NodeName, Result<WebServers, Finding>)> {
    each(context, |context, node| {
        let administrator = administrator.clone();
        async move {
            let port = node.probes.first().map_or(crate::config::defaults::PROBE_PORT, |probe| probe.port);
            let endpoint = administrator.endpoint(&context, &node).await?;
            let name = endpoint.node.clone();
            node::web_servers(endpoint, port, LOOK).await.map_err(|error| of_look(&name, &error))
        }
    })
    .await
}

/// What acme.sh keeps on each node, in the order of the nodes. `home`: that folder alone.
pub async fn acme_homes(
    context: &Arc<Context>,
    administrator: &Administrator,
    home: Option<&str>,
) -> Vec<(NodeName, Result<Vec<Files>, Finding>)> {
    each(context, |context, node| {
        let (administrator, home) = (administrator.clone(), home.map(str::to_owned));
        async move { import::of_node(administrator.endpoint(&context, &node).await?, home.as_deref()).await }
    })
    .await
}

impl Administrator {
    async fn endpoint(self, context: &Context, node: &Node) -> Result<Endpoint, Finding> {
        let mut endpoint = endpoint(context, node).await?;
        endpoint.user = self.user.unwrap_or(endpoint.user);
        if !self.identities.is_empty() {
            endpoint.identities = self.identities;
        }
        endpoint.agent = endpoint.agent.or(self.agent);
        Ok(endpoint)
    }
}

async fn endpoint(context: &Context, node: &Node) -> Result<Endpoint, Finding> {
    let host =
        node.addresses.first().ok_or_else(|| crate::context::failure::bug(&node.name, "a node without an address"))?;
    endpoint_at(&context.secrets, node, host).await
}

async fn each<T: Send + 'static, F: Future<Output = Result<T, Finding>> + Send + 'static>(
    context: &Arc<Context>,
    look: impl Fn(Arc<Context>, Node) -> F,
) -> Vec<(NodeName, Result<T, Finding>)> {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut looks = JoinSet::new();
    for (number, node) in context.config.nodes.iter().enumerate() {
        let (permits, name, look) = (Arc::clone(&permits), node.name.clone(), look(Arc::clone(context), node.clone()));
        looks.spawn(async move {
            let _permit = permits.acquire().await;
            (number, name, look.await)
        });
    }
    let mut found = looks.join_all().await;
    found.sort_by_key(|(number, ..)| *number);
    found.into_iter().map(|(_, name, result)| (name, result)).collect()
}

fn of_ssh(node: &NodeName, error: &SshError) -> Finding {
    failure(error.code(), node, error, error.next(), error.advice())
}

fn of_look(node: &NodeName, error: &ReceiverError) -> Finding {
    let next = match error {
        ReceiverError::Ssh(SshError::Login { .. }) => {
            "let that key in there, or give an administrator's login: --login USER, with --login-identity FILE"
                .to_owned()
        }
        ReceiverError::Ssh(SshError::Ended { words, .. }) if words.contains("sudo:") => {
            "give a login that is root, or may use sudo without a password: --login USER".to_owned()
        }
        ReceiverError::Ssh(error) => error.next(),
        _ => "write [install] by hand: --set install.fullchain=… --set install.key=… --set install.server=…".to_owned(),
    };
    failure(error.code(), node, error, next, Advice::Person)
}
