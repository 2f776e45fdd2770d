//! The DNS as this machine asks it: for the numbers of names that are dialled, and for the peers that a name stands for.

use std::net::SocketAddr;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig};
use hickory_resolver::{TokioResolver, net::runtime::TokioRuntimeProvider, proto::rr::RData, system_conf};
use libp2p::{
    Transport,
    dns::{self, ResolverConfig, ResolverOpts},
};
use weft_core::{
    node::Input,
    peers::{MAX_TEXT_BYTES, MAX_TEXTS},
    swarm::InputSender,
};

/// Whom to ask.
#[derive(Clone, Debug)]
pub(crate) struct Dns {
    config: ResolverConfig,
    options: ResolverOpts,
}

impl Dns {
    /// The name server at this address, or without one those that the system is configured with. On a machine that names
    /// none, names cannot be dialled.
    pub(crate) fn new(server: Option<SocketAddr>) -> Self {
        if let Some(server) = server {
            let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
            connections.iter_mut().for_each(|connection| connection.port = server.port());
            let servers = vec![NameServerConfig::new(server.ip(), true, connections)];
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            return Self { config, options: ResolverOpts::default() };
        }
        system_conf::read_system_conf().map_or_else(
            |error| {
                tracing::warn!(%error, "the system names no name servers: only numeric addresses can be dialled");
                Self::none()
            },
            |(config, options)| Self { config, options },
        )
    }

    fn none() -> Self {
        let config = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
        Self { config, options: ResolverOpts::default() }
    }

    /// A transport that dials names too.
    pub(crate) fn with_names<T: Transport>(&self, transport: T) -> dns::tokio::Transport<T> {
        dns::tokio::Transport::custom(transport, self.config.clone(), self.options.clone())
    }

    /// What asks for TXT records, and tells the driver the answers.
    pub(crate) fn resolver(&self, inputs: &InputSender) -> Resolver {
        let builder =
            TokioResolver::builder_with_config(self.config.clone(), TokioRuntimeProvider::default());
        let resolver = builder.with_options(self.options.clone()).build();
        Resolver { resolver: resolver.map_err(|error| error.to_string()), inputs: inputs.clone() }
    }
}

/// Asks for TXT records.
pub(crate) struct Resolver {
    resolver: Result<TokioResolver, String>,
    inputs: InputSender,
}

impl Resolver {
    /// Asks for the TXT records of a name; the answer is an input for the driver. Does not block.
    pub(crate) fn texts(&self, name: String) {
        let inputs = self.inputs.clone();
        let resolver = match &self.resolver {
            Ok(resolver) => resolver.clone(),
            Err(reason) => return inputs.send(Input::Resolved { name, outcome: Err(reason.clone()) }),
        };
        tokio::spawn(async move {
            // With the dot at its end no search domain of this machine is put behind it.
            let outcome = match resolver.txt_lookup(format!("{name}.")).await {
                Ok(answer) => {
                    Ok(answer.answers().iter().filter_map(|it| text(&it.data)).take(MAX_TEXTS).collect())
                }
                Err(error) if error.is_no_records_found() => Ok(Vec::new()),
                Err(error) => Err(format!("the DNS does not answer ({error})")),
            };
            inputs.send(Input::Resolved { name, outcome });
        });
    }
}

/// A record's text, unless it is too long or not of TXT.
fn text(data: &RData) -> Option<String> {
    let RData::TXT(txt) = data else { return None };
    let bytes = txt.txt_data.concat();
    (bytes.len() <= MAX_TEXT_BYTES).then(|| String::from_utf8(bytes).ok())?
}

#[cfg(test)]
mod tests {
    use libp2p::tcp;

    use super::*;

    #[tokio::test]
    async fn a_machine_without_name_servers_still_has_a_transport() {
        drop(Dns::none().with_names(tcp::tokio::Transport::new(tcp::Config::default())));
    }
}
