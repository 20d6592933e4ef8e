//! Packet captures: frames in, dialogues out.
//!
//! Streams the file, follows at most [`FLOWS`] connections of mail and forgets the rest. A capture that was
//! cut off is judged as far as it goes, and says so.

mod flow;
mod half;
mod packet;

use pcap_parser::{
    Block, LegacyPcapReader, PcapBlockOwned, PcapError, PcapNGReader, traits::PcapReaderIterator,
};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::SocketAddr,
    time::Duration,
};

use self::{
    flow::{Flow, Opening, Remarks, is_mail_port, looks_like_greeting},
    packet::{Frame, Segment},
};
use super::{
    ExplainError, Read,
    kept::{self, Dated},
    sniff::Format,
};

/// Most connections of one capture that are judged.
const FLOWS: usize = 256;
/// Most openings that are remembered of connections that may yet prove to be mail.
const OPENINGS: usize = 4096;
/// Most interfaces of one section.
const INTERFACES: usize = 1024;
/// The reader's buffer, and how far it may grow for one block.
const BUFFER: usize = 1 << 20;
const LARGEST_BUFFER: usize = 32 << 20;
/// Most remarks on single connections that are told.
const REMARKS: usize = 16;

pub(super) fn read<'a>(
    stream: impl io::Read + 'a,
    format: Format,
    label: &str,
) -> Result<Read, ExplainError> {
    let mut reader = open(stream, format)?;
    let mut packets = Packets::default();
    let cut_off = walk(&mut *reader, &mut packets)?;
    packets.finish(cut_off, label)
}

type Reader<'a> = Box<dyn PcapReaderIterator + 'a>;

fn open<'a>(stream: impl io::Read + 'a, format: Format) -> Result<Reader<'a>, ExplainError> {
    let broken = |error: PcapError<&'static [u8]>| match error {
        PcapError::ReadError => ExplainError::BrokenCapture("reading failed".to_owned()),
        PcapError::Incomplete(_) | PcapError::Eof | PcapError::UnexpectedEof => {
            ExplainError::BrokenCapture("it ends within its first block".to_owned())
        }
        _ => ExplainError::BrokenCapture("its header is damaged".to_owned()),
    };
    Ok(match format {
        Format::Pcap => Box::new(LegacyPcapReader::new(BUFFER, stream).map_err(broken)?),
        Format::PcapNg => Box::new(PcapNGReader::new(BUFFER, stream).map_err(broken)?),
    })
}

/// Reads every block. Gives the reason where the file ends before its last block does.
fn walk(
    reader: &mut dyn PcapReaderIterator,
    packets: &mut Packets,
) -> Result<Option<&'static str>, ExplainError> {
    let mut capacity = BUFFER;
    // Without progress in bytes there is no end: refills that bring nothing are counted.
    let mut idle = 0;
    loop {
        let available = reader.data().len();
        let wants_more = match reader.next() {
            Ok((length, block)) => {
                packets.block(block);
                reader.consume(length);
                idle = 0;
                continue;
            }
            Err(PcapError::Eof) => return Ok(None),
            Err(PcapError::UnexpectedEof) => {
                return Ok((available > 0).then_some("the capture is cut off within a packet"));
            }
            Err(PcapError::Incomplete(_)) => true,
            Err(PcapError::BufferTooSmall) => false,
            Err(PcapError::ReadError) => return Err(io::Error::other("reading failed").into()),
            Err(_) => {
                return Ok(Some(
                    "the capture is damaged; what stands before the damage is judged",
                ));
            }
        };
        if !wants_more || idle > 2 {
            capacity *= 2;
            if capacity > LARGEST_BUFFER {
                return Ok(Some(
                    "the capture has a block of more than 32 MiB; what stands before it is judged",
                ));
            }
            reader.grow(capacity);
            idle = 0;
        }
        if reader.refill().is_err() {
            return Err(io::Error::other("reading failed").into());
        }
        if reader.data().len() == available {
            if reader.reader_exhausted() && idle > 0 {
                return Ok((available > 0).then_some("the capture is cut off within a packet"));
            }
            idle += 1;
        }
    }
}

/// An interface of a pcapng section, or the one of a pcap file.
#[derive(Debug, Clone, Copy)]
struct Interface {
    link: i32,
    /// Ticks of its clock in a second.
    ticks: u64,
    /// Seconds to be added.
    offset: i64,
}

type Ends = (SocketAddr, SocketAddr);

#[derive(Debug, Default)]
struct Packets {
    interfaces: Vec<Interface>,
    flows: HashMap<Ends, Flow>,
    openings: HashMap<Ends, Opening>,
    /// By the time at which they began.
    done: Vec<(Duration, Dated)>,
    remarks: Remarks,
    count: u64,
    fragments: u64,
    left_out: u64,
    foreign: BTreeMap<i32, u64>,
    last: Duration,
}

impl Packets {
    fn block(&mut self, block: PcapBlockOwned<'_>) {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                let ticks = if header.is_nanosecond_precision() {
                    1_000_000_000
                } else {
                    1_000_000
                };
                self.interfaces = vec![Interface {
                    link: header.network.0 & 0xffff,
                    ticks,
                    offset: 0,
                }];
            }
            PcapBlockOwned::Legacy(packet) => {
                let Some(interface) = self.interfaces.first().copied() else {
                    return;
                };
                let nanos = u64::from(packet.ts_usec)
                    .saturating_mul(1_000_000_000 / interface.ticks.max(1));
                let at = Duration::from_secs(packet.ts_sec.into()) + Duration::from_nanos(nanos);
                self.frame(
                    interface.link,
                    at,
                    packet
                        .data
                        .get(..packet.caplen as usize)
                        .unwrap_or(packet.data),
                );
            }
            PcapBlockOwned::NG(Block::SectionHeader(_)) => self.interfaces.clear(),
            PcapBlockOwned::NG(Block::InterfaceDescription(about)) => {
                if self.interfaces.len() < INTERFACES {
                    let ticks = about.ts_resolution().unwrap_or(1_000_000).max(1);
                    self.interfaces.push(Interface {
                        link: about.linktype.0,
                        ticks,
                        offset: about.ts_offset(),
                    });
                }
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let Some(interface) = self.interfaces.get(packet.if_id as usize).copied() else {
                    return;
                };
                let at = interface.time(u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low));
                self.frame(
                    interface.link,
                    at,
                    packet
                        .data
                        .get(..packet.caplen as usize)
                        .unwrap_or(packet.data),
                );
            }
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                let Some(interface) = self.interfaces.first().copied() else {
                    return;
                };
                let length = packet.data.len().min(packet.origlen as usize);
                // It has no time of its own.
                self.frame(
                    interface.link,
                    self.last,
                    packet.data.get(..length).unwrap_or_default(),
                );
            }
            PcapBlockOwned::NG(_) => {}
        }
    }

    fn frame(&mut self, link: i32, at: Duration, frame: &[u8]) {
        self.count += 1;
        self.last = self.last.max(at);
        match packet::read(link, frame) {
            Frame::Tcp(segment) => self.segment(&segment, at),
            Frame::Fragment => self.fragments += 1,
            Frame::ForeignLink => {
                if self.foreign.len() < 64 || self.foreign.contains_key(&link) {
                    *self.foreign.entry(link).or_default() += 1;
                }
            }
            Frame::Other => {}
        }
    }

    fn segment(&mut self, segment: &Segment<'_>, at: Duration) {
        let ends = (segment.from.min(segment.to), segment.from.max(segment.to));
        if let Some(flow) = self.flows.get_mut(&ends) {
            if !flow.is_followed_by(segment) {
                flow.segment(segment, at);
                return;
            }
            if let Some(before) = self.flows.remove(&ends) {
                self.done.extend(before.finish(at, &mut self.remarks));
            }
        }
        if is_mail_port(segment.from.port()) || is_mail_port(segment.to.port()) {
            // Stray packets of a connection that is over, or was never seen to begin, tell nothing.
            if segment.syn || !segment.payload.is_empty() {
                self.begin(ends, segment, at);
            }
        } else if segment.syn {
            if self.openings.len() >= OPENINGS && !self.openings.contains_key(&ends) {
                self.openings.clear();
            }
            self.openings.entry(ends).or_default().note(segment, at);
        } else if looks_like_greeting(segment.payload) {
            self.begin(ends, segment, at);
        }
    }

    fn begin(&mut self, ends: Ends, segment: &Segment<'_>, at: Duration) {
        if self.flows.len() + self.done.len() >= FLOWS {
            self.left_out += u64::from(segment.syn && segment.acknowledged.is_none());
            return;
        }
        let opening = self.openings.remove(&ends).unwrap_or_default();
        let mut flow = Flow::new(segment, at, opening);
        flow.segment(segment, at);
        self.flows.insert(ends, flow);
    }

    fn finish(mut self, cut_off: Option<&'static str>, label: &str) -> Result<Read, ExplainError> {
        for flow in std::mem::take(&mut self.flows).into_values() {
            self.done.extend(flow.finish(self.last, &mut self.remarks));
        }
        let mut notes: Vec<String> = cut_off.map(str::to_owned).into_iter().collect();
        for (link, count) in &self.foreign {
            notes.push(format!(
                "{count} packets have a link type that is not understood ({link})"
            ));
        }
        if self.fragments > 0 {
            notes.push(format!(
                "{} fragments of IP packets were passed over",
                self.fragments
            ));
        }
        if self.left_out > 0 {
            notes.push(format!(
                "{} more mail connections were seen; the first {FLOWS} are judged",
                self.left_out
            ));
        }
        self.remarks.notes.sort();
        let remarks = self.remarks.notes.len();
        notes.extend(self.remarks.notes.into_iter().take(REMARKS));
        if remarks > REMARKS {
            notes.push(format!("{} more remarks of this kind", remarks - REMARKS));
        }
        if self.done.is_empty() {
            let what = format!("{} packets, none of a mail connection", self.count);
            let more = notes
                .into_iter()
                .fold(what, |all, note| format!("{all}; {note}"));
            return Err(ExplainError::NoDialogue(more));
        }
        // A hash map has no order, a report must have one.
        self.done.sort_by(|(a, x), (b, y)| {
            a.cmp(b)
                .then_with(|| x.dialogue.connect.local.cmp(&y.dialogue.connect.local))
        });
        let dialogues = self.done.into_iter().map(|(_, dated)| dated).collect();
        Ok(Read {
            measurements: kept::measurements(dialogues, label),
            notes,
        })
    }
}

impl Interface {
    fn time(self, ticks: u64) -> Duration {
        let seconds = i64::try_from(ticks / self.ticks)
            .unwrap_or(i64::MAX)
            .saturating_add(self.offset);
        let rest = u128::from(ticks % self.ticks) * 1_000_000_000 / u128::from(self.ticks);
        Duration::from_secs(seconds.try_into().unwrap_or(0))
            + Duration::from_nanos(rest.try_into().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests;
