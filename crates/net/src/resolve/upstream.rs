//! One resolver: the transport to it and the validator's memory of what it said.
//!
//! Questions carry DO and CD (RFC 4035 §3.2): the resolver must hand over what it has, signatures
//! included, and leave the judgement to us; else a bogus zone would look like a broken resolver.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    base::{MessageBuilder, Name, Rtype, message::Message},
    dnssec::validator::{anchor::TrustAnchors, context::ValidationContext},
    net::client::{
        dgram, dgram_stream, multi_stream,
        protocol::{TcpConnect, UdpConnect},
        request::{ComposeRequest, Error, RequestMessage, SendRequest},
    },
};
use tokio::sync::OnceCell;

/// UDP first, TCP where the answer was truncated.
pub(super) type Connection = dgram_stream::Connection<UdpConnect, RequestMessage<Vec<u8>>>;

pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    pub(super) anchor: Arc<[u8]>,
    ready: OnceCell<Ready>,
}

/// Made on first use, because the transport's task needs a runtime.
struct Ready {
    connection: Connection,
    validator: Arc<ValidationContext<Connection>>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({})", self.address)
    }
}

impl Upstream {
    pub(super) fn new(address: SocketAddr, anchor: Arc<[u8]>) -> Self {
        Self {
            address,
            anchor,
            ready: OnceCell::new(),
        }
    }

    /// Sends one question and returns the exact answer, whatever its return code.
    pub(super) async fn ask(
        &self,
        name: Name<Vec<u8>>,
        rtype: Rtype,
        limit: Duration,
    ) -> Result<Message<Bytes>, String> {
        let request = request(name, rtype).map_err(in_words)?;
        let mut pending = self.ready(limit).await.connection.send_request(request);
        match tokio::time::timeout(limit, pending.get_response()).await {
            Ok(answer) => answer.map_err(in_words),
            Err(_) => Err("no answer within the limit".to_owned()),
        }
    }

    /// The validator that remembers keys from earlier answers.
    pub(super) async fn validator(&self, limit: Duration) -> Arc<ValidationContext<Connection>> {
        Arc::clone(&self.ready(limit).await.validator)
    }

    /// A validator that remembers nothing.
    pub(super) async fn fresh_validator(
        &self,
        limit: Duration,
    ) -> Arc<ValidationContext<Connection>> {
        Arc::new(ValidationContext::new(
            self.anchors(),
            self.ready(limit).await.connection.clone(),
        ))
    }

    fn anchors(&self) -> TrustAnchors {
        // Checked when it was set; without any anchor every answer is indeterminate.
        TrustAnchors::from_u8(&self.anchor).unwrap_or_else(|_| TrustAnchors::empty())
    }

    async fn ready(&self, limit: Duration) -> &Ready {
        self.ready
            .get_or_init(|| async {
                let mut udp = dgram::Config::new();
                // Two datagrams in the time of one answer: a lost one is not a dead resolver.
                udp.set_read_timeout(limit / 2);
                udp.set_max_retries(1);
                let mut tcp = multi_stream::Config::default();
                tcp.set_response_timeout(limit);
                let config = dgram_stream::Config::from_parts(udp, tcp);
                let (connection, transport) = Connection::with_config(
                    UdpConnect::new(self.address),
                    TcpConnect::new(self.address),
                    config,
                );
                tokio::spawn(transport.run());
                let validator =
                    Arc::new(ValidationContext::new(self.anchors(), connection.clone()));
                Ready {
                    connection,
                    validator,
                }
            })
            .await
    }
}

fn request(name: Name<Vec<u8>>, rtype: Rtype) -> Result<RequestMessage<Vec<u8>>, Error> {
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_rd(true);
    message.header_mut().set_cd(true);
    let mut message = message.question();
    message
        .push((name, rtype))
        .map_err(|_| Error::MessageBuilderPushError)?;
    let mut request = RequestMessage::new(message)?;
    request.set_dnssec_ok(true);
    Ok(request)
}

fn in_words(error: Error) -> String {
    match error {
        Error::Dgram(error) => error.to_string(),
        error => error.to_string(),
    }
}
