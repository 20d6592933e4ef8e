//! Whether, with which right and how far the path is traced: settings, and the trace of one service as part of an
//! inquiry. How packets are sent is `probe::path`'s; what hops prove is the judge's.

use hoofbeat_net::Route;
use hoofbeat_observation::{AddressFact, Measurement, Service};
use hoofbeat_probe::{
    Context,
    path::{PrefixTable, RawRight, TraceProgress, surroundings, trace, trace_asks},
};
use std::net::IpAddr;
use tokio::sync::Mutex;

use super::{Stop, typed::EngineTyped};

/// Services of one target that are traced: a trace costs a server more than a dialogue does.
pub(super) const MOST_TRACED: usize = 2;

/// When the path is traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Not at all.
    Never,
    /// Where the judge asks for it.
    Asked,
    /// In any case.
    Always,
}

impl When {
    /// The word that archives keep.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Asked => "asked",
            Self::Always => "always",
        }
    }
}

/// Tracing as meant.
#[derive(Debug)]
pub(super) struct Tracing {
    pub(super) when: When,
    /// One trace at a time uses the raw sockets: two would read each other's answers.
    raw: Mutex<Option<RawRight>>,
    /// Why the raw engine was wished for and is not to be had.
    pub(super) without_raw: Option<String>,
    prefixes: Option<PrefixTable>,
}

impl Tracing {
    /// None at all.
    pub(super) fn never() -> Self {
        Self {
            when: When::Never,
            raw: Mutex::new(None),
            without_raw: None,
            prefixes: None,
        }
    }

    /// Takes the right to raw sockets where it is wanted, and drops every other right for good. To be called before
    /// the runtime starts, after every file was opened.
    pub(super) fn prepare(
        when: When,
        engine: EngineTyped,
        prefixes: Option<PrefixTable>,
    ) -> Result<Self, Stop> {
        if when == When::Never {
            return Ok(Self::never());
        }
        let (raw, without_raw) = match engine {
            EngineTyped::Unprivileged => (None, None),
            EngineTyped::Auto | EngineTyped::Raw => match RawRight::acquire() {
                Ok(right) => (Some(right), None),
                Err(error) if engine == EngineTyped::Raw => {
                    return Err(Stop::unreadable(format!("--engine raw: {error}")));
                }
                Err(error) => (None, Some(error.to_string())),
            },
        };
        Ok(Self {
            when,
            raw: Mutex::new(raw),
            without_raw,
            prefixes,
        })
    }

    /// Why a service's path cannot be traced by this route.
    pub(super) const fn hindrance(route: &Route) -> Option<&'static str> {
        match route {
            Route::Direct | Route::Interface(_) => None,
            Route::Socks5(_) | Route::HttpConnect(_) => {
                Some("the path to a proxy is not the path to the server (--route)")
            }
        }
    }

    /// Traces the path to a service, and the paths that it is held against; with `hello` the service's ClientHello too.
    pub(super) async fn trace(
        &self,
        service: &Service,
        controls: &[Service],
        hello: bool,
        context: &Context,
        progress: &(dyn Fn(TraceProgress<'_>) + Sync),
    ) -> Vec<Measurement> {
        let mut asks = trace_asks(service, controls);
        for ask in &mut asks {
            ask.hello = hello && ask.thorough;
        }
        let raw = self.raw.lock().await;
        trace(asks, raw.as_ref(), context, progress).await
    }

    /// What the local table knows of one address.
    pub(super) fn fact(&self, address: IpAddr) -> AddressFact {
        let known = self
            .prefixes
            .as_ref()
            .and_then(|table| table.lookup(address));
        AddressFact {
            address,
            asn: known.map(|(asn, _)| asn),
            holder: known.and_then(|(_, name)| name.map(str::to_owned)),
            reverse: None,
        }
    }

    /// What is known of the addresses that traces met.
    pub(super) async fn surroundings(
        &self,
        traces: &[Measurement],
        context: &Context,
    ) -> Measurement {
        surroundings(traces, self.prefixes.as_ref(), context).await
    }
}
