//! A packet-level box as a scenario writes it down. Only data: what it does, at which hook of its node, for whom.
//! It must not know netfilter, sockets or a topology's names.

use std::net::IpAddr;

use serde::Deserialize;

use crate::middlebox::BoxSpec;
use crate::protocol::Scheme;

/// A box on a node of the network.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum DeviceSpec {
    /// Edits segments in place; every length, sequence number and TTL stays.
    Rewrite(RewriteSpec),
    /// Terminates TCP and speaks for both sides.
    Terminate(TerminateSpec),
    /// Answers a command in the server's name.
    Forge(ForgeSpec),
    /// Swallows what it does not like.
    Drop(DropSpec),
    /// Injects resets.
    Reset(ResetSpec),
    /// Blocks ports from the first SYN on.
    Block(BlockSpec),
    /// Inserts a header into plain HTTP requests.
    HttpHeader(HttpHeaderSpec),
    /// The node's ICMP time-exceeded quote little. IPv4 only: RFC 4443 asks for much.
    ShortQuotes(ShortQuotesSpec),
    /// The node sends no ICMP errors.
    Silent(SilentSpec),
    /// The node lifts low TTLs.
    TtlNormalise(TtlNormaliseSpec),
    /// The node delays and loses what it forwards.
    #[serde(alias = "delay", alias = "loss")]
    Impair(ImpairSpec),
}

/// Where in its node a box stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// Behind the router's TTL check, in both directions: an unchanged quote from this hop, a changed one from the next.
    #[default]
    Egress,
    /// Before the router's TTL check, in both directions: this hop's own quote is changed.
    Ingress,
    /// On the link towards the client: before the TTL check for what goes to the server, behind it for what comes back.
    ClientLink,
    /// On the link towards the server: behind the TTL check for what goes to the server, before it for what comes back.
    ServerLink,
    /// On an end host: what it sends and what it receives.
    Host,
    /// On a bridge, which is no hop at all.
    Bridge,
}

/// Whose packets a box cares for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Only {
    /// The server's ports; the kind's own default when empty.
    pub ports: Vec<u16>,
    /// One address family.
    pub family: Option<Family>,
    /// Clients within these; all when empty.
    pub clients: Vec<Prefix>,
    /// Servers within these; all when empty.
    pub servers: Vec<Prefix>,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// An address prefix, written `198.18.0.0/15`, or an address alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Prefix {
    /// Its first address.
    pub address: IpAddr,
    /// How many bits count.
    pub bits: u8,
}

impl Prefix {
    /// Which family it belongs to.
    pub fn family(&self) -> Family {
        match self.address {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        }
    }
}

/// A text is no address prefix.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no address prefix such as 198.18.0.0/15")]
pub struct PrefixError(String);

impl TryFrom<String> for Prefix {
    type Error = PrefixError;

    fn try_from(text: String) -> Result<Self, PrefixError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, bits.parse().ok()),
            None => (text.as_str(), Some(u8::MAX)),
        };
        let read = address.parse::<IpAddr>().ok().zip(bits);
        let (address, bits) = read.ok_or_else(|| PrefixError(text.clone()))?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        match bits {
            u8::MAX if !text.contains('/') => Ok(Self {
                address,
                bits: longest,
            }),
            bits if bits <= longest => Ok(Self { address, bits }),
            _ => Err(PrefixError(text)),
        }
    }
}

/// Which way a changed segment travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
    /// Both.
    #[default]
    Both,
}

/// What sets a box off, in what the client sends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// A line whose verb is STARTTLS or STLS, in any case.
    #[default]
    Starttls,
    /// A TLS ClientHello.
    ClientHello,
    /// A ClientHello that names this server, or one below it.
    ServerName(String),
    /// These bytes, in any case, anywhere in a segment.
    Text(String),
}

/// With which TTL a box sends its own packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForgedTtl {
    /// This one.
    Own(u8),
    /// The one that the triggering packet had when the box saw it.
    Copied,
}

impl Default for ForgedTtl {
    fn default() -> Self {
        Self::Own(64)
    }
}

/// Whether a box can hold packets back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stance {
    /// It can: the packet that set it off goes no further.
    #[default]
    InPath,
    /// It cannot: it sees copies, and what it sends races the genuine.
    OnPath,
}

/// [`DeviceSpec::Rewrite`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RewriteSpec {
    /// The in-place boxes, the client's side first: `cisco` and `mask`.
    #[serde(rename = "box")]
    pub boxes: Vec<BoxSpec>,
    /// In which direction segments are changed; the box watches both.
    #[serde(default)]
    pub direction: Direction,
    /// Where it stands.
    #[serde(default)]
    pub hook: Hook,
    /// For whom. Ports: 25, 587, 143, 110.
    #[serde(default)]
    pub only: Only,
}

/// Whose address the server sees behind a terminating box.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Address {
    /// The client's, with its port (TPROXY). Not on a host.
    #[default]
    Kept,
    /// The box's (NAT REDIRECT).
    Own,
}

/// [`DeviceSpec::Terminate`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TerminateSpec {
    /// The boxes, the client's side first: any kind; none for a proxy that changes nothing.
    #[serde(default, rename = "box")]
    pub boxes: Vec<BoxSpec>,
    /// Whose address the server sees.
    #[serde(default)]
    pub address: Address,
    /// `host`, or anything else for a router. Not a bridge.
    #[serde(default)]
    pub hook: Hook,
    /// For whom. Ports: 25, 587, 143, 110.
    #[serde(default)]
    pub only: Only,
}

/// [`DeviceSpec::Forge`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct ForgeSpec {
    /// Whether the command is swallowed. An in-path forger translates sequence numbers for the rest of the connection.
    pub stance: Stance,
    /// What it answers.
    pub trigger: Trigger,
    /// The answer; `{tag}` and `{verb}` are filled in, lines are ended. By default a 500, BAD or -ERR.
    pub text: Option<String>,
    /// The answer's TTL.
    pub ttl: ForgedTtl,
    /// Where it stands. Not a bridge.
    pub hook: Hook,
    /// For whom. Ports: 25, 587, 143, 110.
    pub only: Only,
}

/// How much is swallowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The packets that match; their retransmissions match again.
    #[default]
    Packet,
    /// From the first that matches on, the whole connection in both directions.
    Flow,
}

/// [`DeviceSpec::Drop`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct DropSpec {
    /// What it does not like.
    pub trigger: Trigger,
    /// How much it swallows.
    pub scope: Scope,
    /// Where it stands.
    pub hook: Hook,
    /// For whom. Ports: 25, 587, 143, 110.
    pub only: Only,
}

/// [`DeviceSpec::Reset`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct ResetSpec {
    /// What it does not like.
    pub trigger: Trigger,
    /// Who is reset: `to-client`, `to-server` or `both`.
    pub direction: Direction,
    /// Whether the packet itself goes no further. A tap cannot do that.
    pub swallows: bool,
    /// The resets' TTL.
    pub ttl: ForgedTtl,
    /// Where it stands. Not a bridge.
    pub hook: Hook,
    /// For whom. Ports: 25, 587, 143, 110.
    pub only: Only,
}

/// How a port is blocked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// Nothing is said.
    #[default]
    Drop,
    /// A TCP reset in the server's name.
    Reset,
    /// ICMP: administratively prohibited.
    Icmp,
}

/// [`DeviceSpec::Block`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct BlockSpec {
    /// How.
    pub how: Refusal,
    /// `host`, `bridge` (which has no address to send ICMP from), or anything else for a router. Always behind the TTL
    /// check.
    pub hook: Hook,
    /// For whom. Ports: 25, 587, 143, 110.
    pub only: Only,
}

/// [`DeviceSpec::HttpHeader`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HttpHeaderSpec {
    /// The header's name, such as `X-UIDH`.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Whose address the server sees.
    #[serde(default)]
    pub address: Address,
    /// `host`, or anything else for a router. Not a bridge.
    #[serde(default)]
    pub hook: Hook,
    /// For whom. Ports: 80, 8080.
    #[serde(default)]
    pub only: Only,
}

/// [`DeviceSpec::ShortQuotes`].
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct ShortQuotesSpec {
    /// How many bytes are quoted behind the IP header: RFC 792 asks for 8.
    pub bytes: u16,
}

impl Default for ShortQuotesSpec {
    fn default() -> Self {
        Self { bytes: 8 }
    }
}

/// [`DeviceSpec::Silent`].
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SilentSpec {}

/// [`DeviceSpec::TtlNormalise`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TtlNormaliseSpec {
    /// A packet with a lower TTL gets this one.
    pub floor: u8,
    /// Where it stands: with `ingress` even a TTL of 1 passes the node.
    #[serde(default)]
    pub hook: Hook,
    /// For whom. Without ports: all of IP.
    #[serde(default)]
    pub only: Only,
}

/// [`DeviceSpec::Impair`].
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct ImpairSpec {
    /// How long each forwarded packet is held, milliseconds (at most 2,000).
    pub delay_ms: u16,
    /// How many of a hundred are lost.
    pub loss_percent: u8,
    /// Which ones: the same seed and the same conversation lose the same packets.
    pub seed: u64,
}

/// The ports that mail interference is about.
const MAIL: [u16; 4] = [25, 587, 143, 110];
/// Plain HTTP.
const HTTP: [u16; 2] = [80, 8080];

impl Only {
    /// The ports, with the mail ports for none.
    pub fn mail_ports(&self) -> &[u16] {
        if self.ports.is_empty() {
            &MAIL
        } else {
            &self.ports
        }
    }

    /// The ports, with those of plain HTTP for none.
    pub fn http_ports(&self) -> &[u16] {
        if self.ports.is_empty() {
            &HTTP
        } else {
            &self.ports
        }
    }
}

/// What is usually spoken on `port`; `otherwise` where that is not settled.
pub(super) fn scheme_of(port: u16, otherwise: Scheme) -> Scheme {
    match port {
        25 => Scheme::Smtp,
        587 => Scheme::Submission,
        465 => Scheme::Submissions,
        143 => Scheme::Imap,
        993 => Scheme::Imaps,
        110 => Scheme::Pop3,
        995 => Scheme::Pop3s,
        24 => Scheme::Lmtp,
        4190 => Scheme::Sieve,
        _ => otherwise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DeviceSpec, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn every_kind_reads() {
        for text in [
            "kind='rewrite'
box=[{kind='cisco'},{kind='mask',banner=true}]
hook='bridge'
direction='to-client'",
            "kind='terminate'
address='own'
box=[{kind='handshake',act='intercept'}]
only={ports=[465]}",
            "kind='forge'
stance='on-path'
text='500 no'
ttl={own=128}",
            "kind='forge'
ttl='copied'
trigger='starttls'
hook='client-link'",
            "kind='drop'
scope='flow'
trigger={server-name='mx.lab.test'}",
            "kind='reset'
trigger='client-hello'
direction='to-client'
swallows=true",
            "kind='block'
how='icmp'
only={ports=[25],family='ipv6',clients=['2001:db8::/32']}",
            "kind='http-header'
name='X-UIDH'
value='abc'",
            "kind='short-quotes'",
            "kind='silent'",
            "kind='ttl-normalise'
floor=20",
            "kind='impair'
delay-ms=20
loss-percent=5
seed=7",
            "kind='delay'
delay-ms=20",
        ] {
            read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        for text in [
            "kind='rewrite'
box=[]
hock='egress'",
            "kind='silent'
ports=[25]",
            "kind='drop'
only={port=[25]}",
            "kind='block'
only={clients=['198.18.0.0/33']}",
            "kind='block'
only={clients=['mx.example']}",
            "kind='block'
only={clients=['::1/255']}",
            "kind='nonsense'",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_alone_is_its_own_prefix() {
        let prefix = Prefix::try_from("2001:db8::1".to_owned()).expect("a prefix");
        assert_eq!((prefix.bits, prefix.family()), (128, Family::Ipv6));
        let prefix = Prefix::try_from("198.18.0.0/15".to_owned()).expect("a prefix");
        assert_eq!((prefix.bits, prefix.family()), (15, Family::Ipv4));
    }
}
