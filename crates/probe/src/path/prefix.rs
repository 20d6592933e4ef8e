//! A local table of address prefixes and the autonomous systems that announce them: no one is asked over the network.
//!
//! Two forms, line by line: `PREFIX/LENGTH ASN [NAME]` and CAIDA's pfx2as, `PREFIX LENGTH ASN [NAME]`. It must not know
//! what a system is thought capable of.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    net::IpAddr,
    path::Path,
};

/// Most prefixes: three times of what the whole Internet announces.
const MOST_PREFIXES: usize = 4_000_000;

/// Longest line that is read.
const LONGEST_LINE: u64 = 1024;

/// Longest name that is kept.
const LONGEST_NAME: usize = 80;

/// The table. Of several prefixes that hold an address the longest counts.
#[derive(Debug, Clone, Default)]
pub struct PrefixTable {
    v4: Vec<Entry>,
    v6: Vec<Entry>,
    names: Vec<String>,
    file: String,
    bad_lines: u64,
    days_old: Option<u64>,
}

/// Sorted by bits, then length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    bits: u128,
    length: u8,
    asn: u32,
    /// Place in `names`, from 1; 0: none.
    name: u32,
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It cannot be read.
    #[error("the prefix table cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Not one line of it is a prefix.
    #[error(
        "the prefix table holds no prefix; lines are `192.0.2.0/24 64500 [name]` or `192.0.2.0 24 64500 [name]`"
    )]
    Empty,
    /// More than anybody announces.
    #[error("the prefix table holds more than {MOST_PREFIXES} prefixes")]
    TooLarge,
}

impl PrefixTable {
    /// Reads a file. Lines that are no prefix are counted and passed over; empty ones and comments (`#`, `;`) are not.
    ///
    /// # Errors
    /// Where it cannot be read, holds nothing, or far too much.
    pub fn read(path: &Path) -> Result<Self, TableError> {
        let file = File::open(path)?;
        let modified = file.metadata()?.modified().ok();
        let age = modified.and_then(|time| time.elapsed().ok());
        let mut table = Self {
            file: path
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            days_old: age.map(|age| age.as_secs() / 86_400),
            ..Self::default()
        };
        table.lines(BufReader::new(file))?;
        Ok(table)
    }

    /// The system that announces the longest prefix that holds the address, and its name where the table has it.
    #[must_use]
    pub fn lookup(&self, address: IpAddr) -> Option<(u32, Option<&str>)> {
        let (entries, bits, longest) = match address.to_canonical() {
            IpAddr::V4(address) => (&self.v4, u128::from(address.to_bits()) << 96, 32),
            IpAddr::V6(address) => (&self.v6, address.to_bits(), 128),
        };
        let entry = (0..=longest).rev().find_map(|length| {
            let wanted = (bits & mask(length), length);
            let at = entries.binary_search_by_key(&wanted, |entry| (entry.bits, entry.length));
            entries.get(at.ok()?)
        })?;
        let name = usize::try_from(entry.name).ok()?.checked_sub(1);
        let name = name.and_then(|at| self.names.get(at));
        Some((entry.asn, name.map(String::as_str)))
    }

    /// How many prefixes it holds.
    #[must_use]
    pub fn prefixes(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// How many lines were no prefix.
    #[must_use]
    pub const fn bad_lines(&self) -> u64 {
        self.bad_lines
    }

    /// Name, size and age, for the record.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = format!("{}: {} prefixes", self.file, self.prefixes());
        if self.bad_lines > 0 {
            text += &format!(", {} lines not understood", self.bad_lines);
        }
        match self.days_old {
            Some(0) => text + ", written today",
            Some(1) => text + ", 1 day old",
            Some(days) => text + &format!(", {days} days old"),
            None => text,
        }
    }

    fn lines(&mut self, mut reader: impl BufRead) -> Result<(), TableError> {
        let mut known = std::collections::HashMap::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = io::Read::take(&mut reader, LONGEST_LINE).read_until(b'\n', &mut line)?;
            if length == 0 {
                break;
            }
            if !line.ends_with(b"\n") && length as u64 == LONGEST_LINE {
                // The rest of a line that is too long is no line of its own.
                skip_line(&mut reader)?;
                self.bad_lines += 1;
                continue;
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim();
            if text.is_empty() || text.starts_with(['#', ';']) {
                continue;
            }
            let Some((address, length, asn, name)) = parsed(text) else {
                self.bad_lines += 1;
                continue;
            };
            if self.prefixes() >= MOST_PREFIXES {
                return Err(TableError::TooLarge);
            }
            let name = if name.is_empty() {
                0
            } else {
                let names = &mut self.names;
                *known.entry(name).or_insert_with_key(|name| {
                    names.push(name.clone());
                    u32::try_from(names.len()).unwrap_or(0)
                })
            };
            let (entries, bits) = match address {
                IpAddr::V4(address) => (&mut self.v4, u128::from(address.to_bits()) << 96),
                IpAddr::V6(address) => (&mut self.v6, address.to_bits()),
            };
            entries.push(Entry {
                bits: bits & mask(length),
                length,
                asn,
                name,
            });
        }
        for entries in [&mut self.v4, &mut self.v6] {
            entries.sort_unstable();
            // One prefix, several origins: the lowest number stands for them.
            entries.dedup_by_key(|entry| (entry.bits, entry.length));
        }
        if self.prefixes() == 0 {
            return Err(TableError::Empty);
        }
        Ok(())
    }
}

fn skip_line(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => {
                reader.consume(at + 1);
                return Ok(());
            }
            None => {
                let length = buffer.len();
                reader.consume(length);
            }
        }
    }
}

/// The highest bits.
fn mask(length: u8) -> u128 {
    u128::MAX
        .checked_shl(128_u32.saturating_sub(length.into()))
        .unwrap_or(0)
}

/// Address, prefix length, system, name.
fn parsed(line: &str) -> Option<(IpAddr, u8, u32, String)> {
    let mut words = line.split_ascii_whitespace();
    let prefix = words.next()?;
    let (address, length) = match prefix.split_once('/') {
        Some(both) => both,
        None => (prefix, words.next()?),
    };
    let address: IpAddr = address.parse().ok()?;
    let length: u8 = length.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let asn = words.next()?;
    let asn = asn.strip_prefix("AS").unwrap_or(asn);
    // `701_702` are two origins, `701,702` or `{701,702}` a set: the first stands for them.
    let first: String = asn
        .trim_start_matches('{')
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let rest = asn.trim_start_matches('{').get(first.len()..)?;
    let is_list = rest
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, '_' | ',' | '}'));
    let name: String = words
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST_NAME)
        .collect();
    (length <= longest && is_list).then_some((address, length, first.parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(text: &str) -> PrefixTable {
        let mut table = PrefixTable::default();
        table.lines(text.as_bytes()).unwrap();
        table
    }

    fn lookup<'a>(table: &'a PrefixTable, address: &str) -> Option<(u32, Option<&'a str>)> {
        table.lookup(address.parse().unwrap())
    }

    #[test]
    fn the_longest_prefix_counts_in_both_forms() {
        let table = table(
            "# comment\n\n198.18.0.0/15 64500 Bench Net\n198.18.3.0\t24\t64503\n198.18.4.0/24 AS64504 Edge\n\
             2001:db8::/32 64501\n2001:db8:7::\t48\t64507_64508\n0.0.0.0 0 64999 default\n",
        );
        assert_eq!(lookup(&table, "198.18.3.9"), Some((64503, None)));
        assert_eq!(
            lookup(&table, "198.19.3.9"),
            Some((64500, Some("Bench Net")))
        );
        assert_eq!(lookup(&table, "198.18.4.1"), Some((64504, Some("Edge"))));
        assert_eq!(
            lookup(&table, "203.0.113.1"),
            Some((64999, Some("default")))
        );
        assert_eq!(lookup(&table, "2001:db8:7::1"), Some((64507, None)));
        assert_eq!(lookup(&table, "2001:db8:8::1"), Some((64501, None)));
        assert_eq!(lookup(&table, "2001:db9::1"), None);
        assert_eq!(lookup(&table, "::ffff:198.18.3.9"), Some((64503, None)));
        assert_eq!((table.prefixes(), table.bad_lines()), (6, 0));
    }

    #[test]
    fn bad_lines_are_counted() {
        let long = format!("192.0.2.0/24 64500 {}\n", "x".repeat(5000));
        let table = table(&format!(
            "{long}198.18.0.0/15 64500\n198.18.0.0/33 1\nhello\n198.18.0.0/24\n10.0.0.0/8 x\n10.0.0.0/8 12x\n"
        ));
        assert_eq!((table.prefixes(), table.bad_lines()), (1, 6));
        assert!(table.describe().contains("6 lines not understood"));
        let mut empty = PrefixTable::default();
        assert!(matches!(
            empty.lines(&b"# only\n"[..]),
            Err(TableError::Empty)
        ));
    }

    proptest! {
        #[test]
        fn any_line_is_read(line in ".{0,80}") {
            let _ = parsed(&line);
        }

        #[test]
        fn the_longest_of_many(prefixes in proptest::collection::vec((any::<u32>(), 0_u8..=32), 1..20), address: u32) {
            let text: String = prefixes.iter().zip(1..).map(|((bits, length), asn)| {
                format!("{}/{length} {asn}\n", std::net::Ipv4Addr::from_bits(*bits))
            }).collect();
            let shift = |length: u8| u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            let longest = prefixes.iter().zip(1_u32..)
                .filter(|((bits, length), _)| (bits ^ address) & shift(*length) == 0)
                .max_by_key(|((_, length), asn)| (*length, std::cmp::Reverse(*asn)))
                .map(|(_, asn)| asn);
            let table = table(&text);
            let found = table.lookup(IpAddr::V4(std::net::Ipv4Addr::from_bits(address)));
            prop_assert_eq!(found.map(|(asn, _)| asn), longest);
        }
    }
}
