//! The report of one session: what was seen, the client's address shortened where it wished so, and signed.

use std::net::IpAddr;

use hoofbeat_observation::{
    Answered, Look, Report, SignedReport, Trace, WitnessedConnection, address,
    witness::REPORT_SCHEMA,
};

use super::{Shared, registry::Session};

/// Builds and signs it.
pub(super) fn sign(
    session: Session,
    looks: Vec<Look>,
    shared: &Shared,
) -> Result<SignedReport, serde_json::Error> {
    let shortened = session.hello.shorten;
    let mut connections = session.connections;
    connections.sort_by_key(|connection| connection.accepted);
    if shortened {
        for connection in &mut connections {
            shorten_connection(connection, session.client);
        }
    }
    let report = Report {
        schema: REPORT_SCHEMA.to_owned(),
        tool: shared.tool.clone(),
        session: session.id,
        nonce: session.hello.nonce,
        started: session.wall,
        client: if shortened {
            address::shortened(session.client)
        } else {
            session.client
        },
        shortened,
        statement: shared.statement.clone(),
        certificate: Some(shared.certificate.clone()),
        connections,
        dropped: session.dropped,
        looks_elsewhere: shared.looker.is_willing(),
        looks,
    };
    Ok(shared.key.sign(serde_json::to_vec(&report)?))
}

fn shorten_connection(connection: &mut WitnessedConnection, client: IpAddr) {
    let peer: Option<std::net::SocketAddr> = connection.peer.parse().ok();
    let mut addresses = vec![client];
    if let Some(peer) = peer {
        addresses.push(peer.ip());
        connection.peer =
            std::net::SocketAddr::new(address::shortened(peer.ip()), peer.port()).to_string();
    }
    addresses.dedup();
    for address in addresses {
        shorten_bytes(&mut connection.syn, address);
        for packet in &mut connection.packets {
            shorten_bytes(&mut packet.bytes, address);
        }
        for chunk in &mut connection.transcript.chunks {
            shorten_text(&mut chunk.bytes, address);
        }
        if let Some(trace) = &mut connection.trace {
            shorten_trace(trace, address);
        }
    }
}

fn shorten_trace(trace: &mut Trace, client: IpAddr) {
    let answers = trace.probes.iter_mut().flat_map(|probe| &mut probe.answers);
    for answer in answers {
        if let Answered::TimeExceeded { from, quote } | Answered::Unreachable { from, quote, .. } =
            &mut answer.what
        {
            if address::shortened(*from) == address::shortened(client) {
                *from = address::shortened(*from);
            }
            if let Some(quote) = quote {
                shorten_bytes(&mut quote.bytes, client);
            }
        }
    }
}

/// An address in the IP header that the bytes begin with; checksums are left as they were.
fn shorten_bytes(packet: &mut [u8], address: IpAddr) {
    let replace = |packet: &mut [u8], at: usize, old: &[u8], new: &[u8]| {
        if let Some(field) = packet.get_mut(at..at + old.len())
            && field == old
        {
            field.copy_from_slice(new);
        }
    };
    match (
        packet.first().map(|byte| byte >> 4),
        address,
        address::shortened(address),
    ) {
        (Some(4), IpAddr::V4(old), IpAddr::V4(new)) => {
            for at in [12, 16] {
                replace(packet, at, &old.octets(), &new.octets());
            }
        }
        (Some(6), IpAddr::V6(old), IpAddr::V6(new)) => {
            for at in [8, 24] {
                replace(packet, at, &old.octets(), &new.octets());
            }
        }
        _ => {}
    }
}

/// The address where a box wrote it as text (an inserted header), as long as before.
fn shorten_text(bytes: &mut [u8], address: IpAddr) {
    let text = address.to_string();
    let keep = match address {
        IpAddr::V4(_) => text.rfind('.').map_or(0, |at| at + 1),
        IpAddr::V6(_) => text.match_indices(':').nth(2).map_or(0, |(at, _)| at + 1),
    };
    let pattern = text.as_bytes();
    let mut at = 0;
    while let Some(window) = bytes.get_mut(at..at + pattern.len()) {
        if window != pattern {
            at += 1;
            continue;
        }
        let host = window
            .iter_mut()
            .skip(keep)
            .filter(|byte| byte.is_ascii_hexdigit());
        host.for_each(|byte| *byte = b'0');
        at += pattern.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_host_part() {
        for (address, wanted) in [
            ("192.0.2.57", "192.0.2.0"),
            ("2001:db8:1:2::9", "2001:db8:1::"),
        ] {
            assert_eq!(
                address::shortened(address.parse().unwrap()),
                wanted.parse::<IpAddr>().unwrap()
            );
        }
        for (address, text, wanted) in [
            (
                "192.0.2.57",
                "X-For: 192.0.2.57, 192.0.2.5\r\n",
                "X-For: 192.0.2.00, 192.0.2.5\r\n",
            ),
            (
                "2001:db8:1:2::9",
                "via [2001:db8:1:2::9]",
                "via [2001:db8:1:0::0]",
            ),
        ] {
            let mut bytes = text.as_bytes().to_vec();
            shorten_text(&mut bytes, address.parse().unwrap());
            assert_eq!(String::from_utf8(bytes).unwrap(), wanted);
        }
        let mut packet = vec![0x45; 12];
        packet.extend([192, 0, 2, 57, 198, 18, 0, 25, 1]);
        shorten_bytes(&mut packet, IpAddr::from([192, 0, 2, 57]));
        assert_eq!(
            packet.get(12..),
            Some(&[192, 0, 2, 0, 198, 18, 0, 25, 1][..])
        );
        shorten_bytes(&mut packet[..5], IpAddr::from([192, 0, 2, 57]));
    }
}
