//! What the machine itself says about names: its list of resolvers and its hosts file.
//!
//! Both are read by hand and leniently: the C library's own lookup would hide which of the two answered,
//! and is not to be had in a static binary.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Largest file that is read, in bytes: some people keep ad lists in their hosts file.
const LARGEST_FILE: u64 = 16 << 20;

/// The resolvers and the search list of `/etc/resolv.conf`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ResolverSettings {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Vec<String>,
}

impl ResolverSettings {
    pub(super) fn of_system() -> Self {
        Self::parse(&read("/etc/resolv.conf"))
    }

    fn parse(text: &str) -> Self {
        let mut settings = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    settings.servers.extend(words.next().and_then(server));
                }
                // The last of several counts (resolv.conf(5)).
                Some("search" | "domain") => {
                    settings.search = words
                        .map(|word| word.trim_matches('.').to_ascii_lowercase())
                        .filter(|word| !word.is_empty())
                        .take(6)
                        .collect();
                }
                _ => {}
            }
        }
        if settings.servers.is_empty() {
            settings.servers.push((Ipv4Addr::LOCALHOST, 53).into());
        }
        settings
    }
}

/// `fe80::1%2` has a scope that only the socket address can hold; an interface's name is not understood.
fn server(word: &str) -> Option<SocketAddr> {
    match word.parse::<IpAddr>() {
        Ok(address) => Some((address, 53).into()),
        Err(_) => format!("[{word}]:53").parse().ok(),
    }
}

/// Names with addresses; `localhost` is always there.
#[derive(Debug, Default)]
pub(super) struct HostsFile {
    entries: Vec<(IpAddr, String)>,
}

impl HostsFile {
    pub(super) fn of_system() -> Self {
        Self::parse(&read("/etc/hosts"))
    }

    pub(super) fn parse(text: &str) -> Self {
        let mut entries = Vec::new();
        for line in text.lines() {
            let mut words = line
                .split('#')
                .next()
                .unwrap_or_default()
                .split_whitespace();
            let Some(address) = words.next().and_then(|word| word.parse().ok()) else {
                continue;
            };
            entries.extend(
                words.map(|name| (address, name.trim_end_matches('.').to_ascii_lowercase())),
            );
        }
        Self { entries }
    }

    /// The addresses of a lower-case name, where the file or RFC 6761 knows it.
    pub(super) fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        let mut found: Vec<IpAddr> = Vec::new();
        for (address, known) in &self.entries {
            if known == name && !found.contains(address) {
                found.push(*address);
            }
        }
        if found.is_empty() && (name == "localhost" || name.ends_with(".localhost")) {
            found = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        }
        (!found.is_empty()).then_some(found)
    }
}

fn read(path: &str) -> String {
    use std::io::Read;
    let mut text = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        let _ = file.take(LARGEST_FILE).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_in_the_wild() {
        let text = "# made by a tool\nnameserver 192.0.2.53\nnameserver fe80::1%3\nnameserver fe80::1%eth0\nnameserver x\n\
            search a.example\nsearch Corp.Example. lan\noptions edns0 trust-ad\nwhatever\n";
        let settings = ResolverSettings::parse(text);
        assert_eq!(
            settings.servers,
            [
                "192.0.2.53:53".parse().unwrap(),
                "[fe80::1%3]:53".parse::<SocketAddr>().unwrap()
            ]
        );
        assert_eq!(settings.search, ["corp.example", "lan"]);
        assert_eq!(
            ResolverSettings::parse("").servers,
            ["127.0.0.1:53".parse().unwrap()]
        );
    }

    #[test]
    fn hosts_in_the_wild() {
        let hosts = HostsFile::parse(
            "127.0.0.1 localhost\n::1 localhost ip6-localhost # x\n192.0.2.1\tMail.Example mail\n# 1.1.1.1 no\nx y\n",
        );
        let v4: IpAddr = "192.0.2.1".parse().unwrap();
        assert_eq!(hosts.addresses("mail"), Some(vec![v4]));
        assert_eq!(hosts.addresses("mail.example"), Some(vec![v4]));
        assert_eq!(hosts.addresses("localhost").map(|a| a.len()), Some(2));
        assert_eq!(
            HostsFile::default()
                .addresses("a.localhost")
                .map(|a| a.len()),
            Some(2)
        );
        assert_eq!(hosts.addresses("no"), None);
    }
}
