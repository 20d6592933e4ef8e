//! A DNS server on loopback with a scripted zone, in the wire format and by hand (RFC 1035), and the
//! signatures of a zone with one key (RFC 4034): the tests' oracle shares no code with the resolver.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};

pub const A: u16 = 1;
pub const CNAME: u16 = 5;
pub const SOA: u16 = 6;
pub const PTR: u16 = 12;
pub const MX: u16 = 15;
pub const TXT: u16 = 16;
pub const AAAA: u16 = 28;
pub const SRV: u16 = 33;
pub const DS: u16 = 43;
pub const RRSIG: u16 = 46;
pub const DNSKEY: u16 = 48;
pub const TLSA: u16 = 52;

/// One record: owner, type, data.
pub type Rr = (String, u16, Vec<u8>);

/// What is done with a question.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Answer section with a return code.
    Answer(u8, Vec<Rr>),
    /// Truncated over UDP, whole over TCP.
    OverTcp(Vec<Rr>),
    /// Nothing at all.
    Silence,
    /// A body of nonsense behind a right header.
    Garbage,
}

/// A zone: what is replied to a name and type. Names in lower case without a final dot.
#[derive(Debug, Clone, Default)]
pub struct Zone(pub HashMap<(String, u16), Reply>);

impl Zone {
    pub fn with(mut self, name: &str, rtype: u16, reply: Reply) -> Self {
        self.0.insert((name.to_owned(), rtype), reply);
        self
    }

    pub fn answer(self, name: &str, rtype: u16, data: &[Vec<u8>]) -> Self {
        let records = data
            .iter()
            .map(|data| (name.to_owned(), rtype, data.clone()))
            .collect();
        self.with(name, rtype, Reply::Answer(0, records))
    }

    fn reply(&self, name: &str, rtype: u16) -> Reply {
        if let Some(reply) = self.0.get(&(name.to_owned(), rtype)) {
            return reply.clone();
        }
        let exists = self
            .0
            .keys()
            .any(|(known, _)| known == name || known.ends_with(&format!(".{name}")));
        Reply::Answer(if exists { 0 } else { 3 }, Vec::new())
    }
}

/// Serves until the test's runtime ends. Returns the address and a count of questions.
pub async fn serve(zone: Zone) -> (SocketAddr, Arc<AtomicUsize>) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    let zone = Arc::new(zone);
    let count = Arc::new(AtomicUsize::new(0));
    let (udp_zone, udp_count) = (Arc::clone(&zone), Arc::clone(&count));
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        while let Ok((n, peer)) = udp.recv_from(&mut buffer).await {
            udp_count.fetch_add(1, Ordering::Relaxed);
            if let Some(reply) = respond(&udp_zone, &buffer[..n], false) {
                let _ = udp.send_to(&reply, peer).await;
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let zone = Arc::clone(&zone);
            tokio::spawn(async move {
                while let Ok(length) = stream.read_u16().await {
                    let mut query = vec![0; usize::from(length)];
                    if stream.read_exact(&mut query).await.is_err() {
                        return;
                    }
                    if let Some(reply) = respond(&zone, &query, true) {
                        let mut framed = u16::try_from(reply.len()).unwrap().to_be_bytes().to_vec();
                        framed.extend(reply);
                        let _ = stream.write_all(&framed).await;
                    }
                }
            });
        }
    });
    (address, count)
}

fn respond(zone: &Zone, query: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
    let mut at = 12;
    let mut labels = Vec::new();
    while query[at] != 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..=at + length]).to_ascii_lowercase());
        at += length + 1;
    }
    let question = &query[12..at + 5];
    let rtype = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let (rcode, truncated, records) = match zone.reply(&labels.join("."), rtype) {
        Reply::Silence => return None,
        Reply::Garbage => {
            let mut message = vec![query[0], query[1], 0x81, 0x80, 0, 1, 0, 9, 0, 0, 0, 0];
            message.extend_from_slice(question);
            message.extend([0xc0; 7]);
            return Some(message);
        }
        Reply::OverTcp(_) if !over_tcp => (0, true, Vec::new()),
        Reply::OverTcp(records) => (0, false, records),
        Reply::Answer(rcode, records) => (rcode, false, records),
    };
    let count = u16::try_from(records.len()).unwrap().to_be_bytes();
    let flags = 0x81 | if truncated { 0x02 } else { 0 };
    let mut message = vec![
        query[0],
        query[1],
        flags,
        0x80 | rcode,
        0,
        1,
        count[0],
        count[1],
        0,
        0,
        0,
        0,
    ];
    message.extend_from_slice(question);
    for (owner, rtype, data) in records {
        message.extend(name(&owner));
        message.extend(rtype.to_be_bytes());
        message.extend([0, 1]);
        message.extend(TTL.to_be_bytes());
        message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        message.extend(data);
    }
    Some(message)
}

const TTL: u32 = 300;

/// A name's wire form.
pub fn name(text: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend(label.bytes());
    }
    wire.push(0);
    wire
}

pub fn mx(preference: u16, host: &str) -> Vec<u8> {
    [&preference.to_be_bytes()[..], &name(host)].concat()
}

pub fn srv(priority: u16, port: u16, host: &str) -> Vec<u8> {
    [
        &priority.to_be_bytes()[..],
        &[0, 0],
        &port.to_be_bytes(),
        &name(host),
    ]
    .concat()
}

/// A zone with one key that signs everything.
pub struct Signer {
    zone: String,
    pair: EcdsaKeyPair,
    dnskey: Vec<u8>,
}

impl Signer {
    pub fn new(zone: &str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
                .unwrap();
        // Flags 257, protocol 3, algorithm 13; the point without its leading 4 (RFC 6605 §4).
        let dnskey = [&[1, 1, 3, 13][..], &pair.public_key().as_ref()[1..]].concat();
        Self {
            zone: zone.to_owned(),
            pair,
            dnskey,
        }
    }

    /// The key as a trust anchor in zone file form.
    pub fn anchor(&self) -> String {
        format!(
            "{}. IN DNSKEY 257 3 13 {}",
            self.zone,
            base64(&self.dnskey[4..])
        )
    }

    pub fn dnskey(&self) -> Vec<u8> {
        self.dnskey.clone()
    }

    /// The records of one name and type with their signature.
    pub fn signed(&self, owner: &str, rtype: u16, data: &[Vec<u8>]) -> Reply {
        let mut data = data.to_vec();
        data.sort();
        let now = u32::try_from(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_secs(),
        )
        .unwrap();
        let labels = u8::try_from(owner.split('.').count()).unwrap();
        let mut rrsig = rtype.to_be_bytes().to_vec();
        rrsig.extend([13, labels]);
        rrsig.extend(TTL.to_be_bytes());
        rrsig.extend((now + 3600).to_be_bytes());
        rrsig.extend((now - 3600).to_be_bytes());
        rrsig.extend(self.key_tag().to_be_bytes());
        rrsig.extend(name(&self.zone));
        let mut text = rrsig.clone();
        for data in &data {
            text.extend(name(owner));
            text.extend(rtype.to_be_bytes());
            text.extend([0, 1]);
            text.extend(TTL.to_be_bytes());
            text.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            text.extend(data);
        }
        rrsig.extend(
            self.pair
                .sign(&SystemRandom::new(), &text)
                .unwrap()
                .as_ref(),
        );
        let mut records: Vec<Rr> = data
            .into_iter()
            .map(|data| (owner.to_owned(), rtype, data))
            .collect();
        records.push((owner.to_owned(), RRSIG, rrsig));
        Reply::Answer(0, records)
    }

    /// RFC 4034 appendix B.
    fn key_tag(&self) -> u16 {
        let sum: u32 = self
            .dnskey
            .iter()
            .enumerate()
            .map(|(i, b)| u32::from(*b) << if i % 2 == 0 { 8 } else { 0 })
            .sum();
        u16::try_from((sum + (sum >> 16)) & 0xffff).unwrap()
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |i| byte >> i & 1))
        .collect();
    let mut text: String = bits
        .chunks(6)
        .map(|six| {
            char::from(
                LETTERS[six.iter().fold(0, |n, bit| n << 1 | usize::from(*bit)) << (6 - six.len())],
            )
        })
        .collect();
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}
