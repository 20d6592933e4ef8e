//! The few requests to the kernel that no safe library offers: the error queue, a lower bound on received TTLs, data
//! in a SYN, raw ICMP, a packet socket, the saved SYN of a client, capabilities.
//!
//! The only file that may hold `unsafe`: each function hands the kernel one buffer of its own and reads back plain
//! bytes, which are then taken apart safely. It must not know what anybody measures with it. Linux alone; elsewhere
//! every request is answered with [`std::io::ErrorKind::Unsupported`]. ip(7), ipv6(7), tcp(7), packet(7), capset(2).
#![expect(
    unsafe_code,
    reason = "requests to the kernel that no safe library offers"
)]

use std::{io, net::IpAddr, os::fd::OwnedFd, time::Duration};

use tokio::io::{Interest, unix::AsyncFd};

/// Which IP a socket speaks: the same request has another name in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl From<IpAddr> for Family {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// One entry of a socket's error queue that an ICMP message caused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IcmpReport {
    /// The ICMP (or ICMPv6) type.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// Who sent it.
    pub from: Option<IpAddr>,
    /// The TTL that it arrived with.
    pub ttl: Option<u8>,
    /// What it quoted, from the TCP header on.
    pub quote: Vec<u8>,
}

/// How a TCP connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpState {
    /// Segments that were sent and not acknowledged.
    pub unacknowledged: u32,
    /// Segments that were sent again since the connection stood.
    pub retransmitted: u32,
    /// The smoothed round trip time.
    pub rtt: Duration,
    /// How long the kernel waits before it sends again.
    pub timeout: Duration,
}

/// One message of a raw socket, or one packet of a packet socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// How many bytes of the buffer it fills.
    pub length: usize,
    /// Who sent it; none on a packet socket.
    pub from: Option<IpAddr>,
    /// The hop limit that it arrived with, where the bytes do not tell (ICMPv6).
    pub hop_limit: Option<u8>,
    /// Wall clock at its arrival, since 1970.
    pub at: Option<Duration>,
    /// The interface's number on a packet socket, else 0.
    pub interface: u32,
    /// Whether our own machine sent it (packet socket).
    pub outgoing: bool,
    /// Whether the interface is the loopback, where every packet is seen twice.
    pub loopback: bool,
}

/// An instruction of the classic packet filter: code, jumps if true and false, operand. bpf(4).
pub type Instruction = (u16, u8, u8, u32);

/// Registers a socket with the runtime, to be waited for.
///
/// # Errors
/// The kernel's, or where it cannot be waited for.
///
/// # Panics
/// Outside a runtime.
pub fn watch(socket: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: who owns a descriptor holds it open, and the same, until it is dropped.
    let watched = unsafe { AsyncFd::register_with_interest(socket, interest) };
    watched.map_err(|error| error.into_parts().1)
}

/// Whether a connection attempt is under way, not failed (`EINPROGRESS`).
#[must_use]
pub fn is_under_way(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINPROGRESS)
}

pub use kernel::{
    DATA_IN_SYN, activate, allow_data_in_syn, attach_filter, drop_capabilities, dropped,
    icmp_listener, next_report, own_addresses, packet_listener, receive, report_errors, save_syn,
    saved_syn, set_minimum_ttl, set_ttl, tcp_state, ttl,
};

#[cfg(target_os = "linux")]
mod kernel {
    use std::{
        ffi::c_int,
        io,
        mem::{MaybeUninit, size_of, size_of_val},
        net::{IpAddr, Ipv4Addr, Ipv6Addr},
        os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        ptr,
        time::Duration,
    };

    use libc::socklen_t;

    use super::{Family, IcmpReport, Instruction, Received, TcpState};

    /// Bytes that a packet socket may hold for us until we read: a burst of a fast link.
    const RECEIVE_BUFFER: c_int = 2 << 20;

    /// The flag of a send that connects and carries its data in the SYN.
    pub const DATA_IN_SYN: c_int = libc::MSG_FASTOPEN;

    /// Sets the TTL (hop limit) of what a socket sends from now on, retransmissions included.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_ttl(socket: impl AsFd, family: Family, ttl: u8) -> io::Result<()> {
        let (level, name) = match family {
            Family::V4 => (libc::IPPROTO_IP, libc::IP_TTL),
            Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
        };
        set(socket.as_fd(), level, name, ttl.into())
    }

    /// The TTL (hop limit) of what a socket sends.
    ///
    /// # Errors
    /// The kernel's.
    pub fn ttl(socket: impl AsFd, family: Family) -> io::Result<u8> {
        let (level, name) = match family {
            Family::V4 => (libc::IPPROTO_IP, libc::IP_TTL),
            Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
        };
        let mut value = [0; 4];
        read(socket.as_fd(), level, name, &mut value)?;
        u8::try_from(c_int::from_ne_bytes(value)).map_err(io::Error::other)
    }

    /// Whether ICMP errors are queued for [`next_report`]: only those that answer a SYN are, and they end it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn report_errors(socket: impl AsFd, family: Family, wanted: bool) -> io::Result<()> {
        let (level, error, ttl) = match family {
            Family::V4 => (libc::IPPROTO_IP, libc::IP_RECVERR, libc::IP_RECVTTL),
            Family::V6 => (
                libc::IPPROTO_IPV6,
                libc::IPV6_RECVERR,
                libc::IPV6_RECVHOPLIMIT,
            ),
        };
        set(socket.as_fd(), level, error, wanted.into())?;
        set(socket.as_fd(), level, ttl, wanted.into())
    }

    /// Lets the kernel drop what arrives with a smaller TTL (RFC 5082); 0 lifts it. It drops ICMP errors too, by
    /// the TTL that they quote.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_minimum_ttl(socket: impl AsFd, family: Family, minimum: u8) -> io::Result<()> {
        let (level, name) = match family {
            Family::V4 => (libc::IPPROTO_IP, libc::IP_MINTTL),
            Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT),
        };
        set(socket.as_fd(), level, name, minimum.into())
    }

    /// Lets a SYN carry data without a cookie of the server's (RFC 7413 in its own network; here: for routers).
    ///
    /// # Errors
    /// The kernel's, where it does not know it.
    pub fn allow_data_in_syn(socket: impl AsFd) -> io::Result<()> {
        set(
            socket.as_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_FASTOPEN_NO_COOKIE,
            1,
        )
    }

    /// How a connection stands.
    ///
    /// # Errors
    /// The kernel's.
    pub fn tcp_state(socket: impl AsFd) -> io::Result<TcpState> {
        // Offsets of `struct tcp_info`, whose beginning is the kernel's promise.
        let mut info = [0; 104];
        read(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, &mut info)?;
        let number = |at: usize| {
            let bytes = info.get(at..at + 4).and_then(|four| four.try_into().ok());
            u32::from_ne_bytes(bytes.unwrap_or_default())
        };
        Ok(TcpState {
            timeout: Duration::from_micros(number(8).into()),
            unacknowledged: number(24),
            rtt: Duration::from_micros(number(68).into()),
            retransmitted: number(100),
        })
    }

    /// Lets a listener keep the SYN of each connection that it accepts.
    ///
    /// # Errors
    /// The kernel's.
    pub fn save_syn(listener: impl AsFd) -> io::Result<()> {
        set(listener.as_fd(), libc::IPPROTO_TCP, libc::TCP_SAVE_SYN, 1)
    }

    /// The SYN of an accepted connection from the IP header on; empty where none was kept. It is told once.
    ///
    /// # Errors
    /// The kernel's.
    pub fn saved_syn(socket: impl AsFd) -> io::Result<Vec<u8>> {
        let mut syn = vec![0; 512];
        let length = read(
            socket.as_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_SAVED_SYN,
            &mut syn,
        )?;
        syn.truncate(length);
        Ok(syn)
    }

    /// The next entry of the error queue that an ICMP message caused; others are passed over.
    ///
    /// # Errors
    /// The kernel's; an empty queue is `None`.
    pub fn next_report(socket: impl AsFd) -> io::Result<Option<IcmpReport>> {
        let mut buffer = [0; 2048];
        loop {
            let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
            let message = match receive_message(socket.as_fd(), &mut buffer, flags) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                message => message?,
            };
            let quote = buffer.get(..message.length).unwrap_or_default();
            let is_report = |(level, kind, _): &&(c_int, c_int, Vec<u8>)| {
                (*level, *kind) == (libc::SOL_IP, libc::IP_RECVERR)
                    || (*level, *kind) == (libc::SOL_IPV6, libc::IPV6_RECVERR)
            };
            let report = message.control.iter().find(is_report);
            // `struct sock_extended_err`: number, origin, type, code, pad, info, data; behind it who sent it.
            if let Some((_, _, bytes)) = report
                && let [_, _, _, _, origin, kind, code, _, rest @ ..] = bytes.as_slice()
                && [libc::SO_EE_ORIGIN_ICMP, libc::SO_EE_ORIGIN_ICMP6].contains(origin)
            {
                return Ok(Some(IcmpReport {
                    kind: *kind,
                    code: *code,
                    from: address(rest.get(8..).unwrap_or_default()),
                    ttl: message.ttl(),
                    quote: quote.to_vec(),
                }));
            }
        }
    }

    /// A raw socket that hears ICMP errors (time exceeded, destination unreachable) and nothing else. Non-blocking.
    ///
    /// # Errors
    /// The kernel's; without `CAP_NET_RAW` it refuses.
    pub fn icmp_listener(family: Family) -> io::Result<OwnedFd> {
        let (domain, protocol) = match family {
            Family::V4 => (libc::AF_INET, libc::IPPROTO_ICMP),
            Family::V6 => (libc::AF_INET6, libc::IPPROTO_ICMPV6),
        };
        let socket = open(domain, libc::SOCK_RAW, protocol)?;
        // A set bit blocks a type. IPv4 has 32 of them here; ICMPv6 all 256.
        let (level, blocked) = match family {
            Family::V4 => {
                set(socket.as_fd(), libc::IPPROTO_IP, libc::IP_RECVTTL, 1)?;
                (libc::SOL_RAW, vec![!(1_u32 << 3 | 1 << 11)])
            }
            Family::V6 => {
                set(
                    socket.as_fd(),
                    libc::IPPROTO_IPV6,
                    libc::IPV6_RECVHOPLIMIT,
                    1,
                )?;
                let mut types = vec![u32::MAX; 8];
                types[0] = !(1 << 1 | 1 << 3);
                (libc::SOL_ICMPV6, types)
            }
        };
        let blocked: Vec<u8> = blocked.into_iter().flat_map(u32::to_ne_bytes).collect();
        // ICMP_FILTER and ICMPV6_FILTER have the same number.
        set_bytes(socket.as_fd(), level, 1, &blocked)?;
        timed(&socket)?;
        Ok(socket)
    }

    /// A packet socket that hears nothing until [`activate`]. Non-blocking.
    ///
    /// # Errors
    /// The kernel's; without `CAP_NET_RAW` it refuses.
    pub fn packet_listener() -> io::Result<OwnedFd> {
        let socket = open(libc::AF_PACKET, libc::SOCK_DGRAM, 0)?;
        set(
            socket.as_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUF,
            RECEIVE_BUFFER,
        )?;
        timed(&socket)?;
        Ok(socket)
    }

    /// Lets a packet socket hear IP packets of all interfaces, from the IP header on, our own included.
    ///
    /// # Errors
    /// The kernel's.
    pub fn activate(packets: impl AsFd) -> io::Result<()> {
        // SAFETY: all of it is plain numbers, for which zero is a value.
        let mut name: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        name.sll_family = libc::AF_PACKET as u16;
        name.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: the pointer is to a live address of the length given.
        let bound = unsafe {
            libc::bind(
                packets.as_fd().as_raw_fd(),
                (&raw const name).cast(),
                size_of_val(&name) as socklen_t,
            )
        };
        check(bound).map(drop)
    }

    /// Lets a socket hear only what a filter accepts; it replaces the one before.
    ///
    /// # Errors
    /// The kernel's, which may want a privilege for it.
    pub fn attach_filter(socket: impl AsFd, program: &[Instruction]) -> io::Result<()> {
        let mut program: Vec<libc::sock_filter> = program
            .iter()
            .map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k })
            .collect();
        let whole = libc::sock_fprog {
            len: program.len().try_into().map_err(io::Error::other)?,
            filter: program.as_mut_ptr(),
        };
        // SAFETY: `whole` and the instructions that it points to live through the call, which copies them.
        let attached = unsafe {
            libc::setsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const whole).cast(),
                size_of_val(&whole) as socklen_t,
            )
        };
        check(attached).map(drop)
    }

    /// How many packets a packet socket lost since it was last asked.
    ///
    /// # Errors
    /// The kernel's.
    pub fn dropped(packets: impl AsFd) -> io::Result<u32> {
        // `struct tpacket_stats`: packets, drops.
        let mut both = [0; 8];
        read(
            packets.as_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            &mut both,
        )?;
        let [_, _, _, _, drops @ ..] = both;
        Ok(u32::from_ne_bytes(drops))
    }

    /// The next message of a raw or packet socket, without waiting.
    ///
    /// # Errors
    /// The kernel's; `WouldBlock` where there is none.
    pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
        let message = receive_message(socket.as_fd(), buffer, libc::MSG_DONTWAIT)?;
        let at = message.control.iter().find_map(|(level, kind, bytes)| {
            let is_time =
                (*level, *kind) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) && bytes.len() == 16;
            let half = |from: usize| {
                let eight = bytes.get(from..from + 8)?.try_into().ok()?;
                u64::try_from(i64::from_ne_bytes(eight)).ok()
            };
            let nanos = || u32::try_from(half(8)?).ok();
            is_time.then(|| Some(Duration::new(half(0)?, nanos()?)))?
        });
        // `struct sockaddr_ll`: family, protocol, interface, hardware, packet type, …
        let is_packet = message.name.get(..2) == Some(&(libc::AF_PACKET as u16).to_ne_bytes());
        let link = |from: usize| message.name.get(from..from + 4).filter(|_| is_packet);
        let interface = link(4).and_then(|four| four.try_into().ok());
        let hardware = link(8).map(|four| [four[0], four[1]]);
        Ok(Received {
            length: message.length,
            from: address(&message.name),
            hop_limit: message.ttl(),
            at,
            interface: interface.map_or(0, u32::from_ne_bytes),
            outgoing: link(8).is_some_and(|four| four[2] == libc::PACKET_OUTGOING),
            loopback: hardware == Some(libc::ARPHRD_LOOPBACK.to_ne_bytes()),
        })
    }

    /// Gives up every capability of this thread for good: none is left, and no program that it starts, nor thread
    /// that it makes, has one. Threads that exist keep theirs.
    ///
    /// # Errors
    /// The kernel's.
    pub fn drop_capabilities() -> io::Result<()> {
        const VERSION_3: u32 = 0x2008_0522;
        // SAFETY: these requests take numbers alone.
        unsafe {
            check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
            // Kernels without ambient capabilities have none to clear; who may not shrink the bound has nothing
            // that it could let back in.
            libc::prctl(
                libc::PR_CAP_AMBIENT,
                libc::PR_CAP_AMBIENT_CLEAR_ALL,
                0,
                0,
                0,
            );
            for capability in 0..64 {
                libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
            }
        }
        // Version and thread (0: this one); then effective, permitted, inheritable, twice 32 of each.
        let header = [VERSION_3, 0];
        let none = [0_u32; 6];
        // SAFETY: both arrays have the layout of version 3 and live through the call, which reads them.
        let set = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
        if set == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// The addresses of this machine's interfaces, with the lengths of their prefixes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn own_addresses() -> io::Result<Vec<(IpAddr, u8)>> {
        let mut first = ptr::null_mut();
        // SAFETY: the pointer is to a live pointer, which the call fills in.
        check(unsafe { libc::getifaddrs(&raw mut first) })?;
        let mut found = Vec::new();
        let mut next = first;
        while !next.is_null() {
            // SAFETY: a non-null link of the list that getifaddrs made and nobody freed.
            let entry = unsafe { &*next };
            let of = |name: *const libc::sockaddr| {
                if name.is_null() {
                    return None;
                }
                // SAFETY: a non-null address of the list; its family tells how long it is.
                let length = match c_int::from(unsafe { (*name).sa_family }) {
                    libc::AF_INET => size_of::<libc::sockaddr_in>(),
                    libc::AF_INET6 => size_of::<libc::sockaddr_in6>(),
                    _ => return None,
                };
                // SAFETY: as above.
                address(unsafe { std::slice::from_raw_parts(name.cast::<u8>(), length) })
            };
            let ones = |mask: IpAddr| match mask {
                IpAddr::V4(mask) => mask.to_bits().count_ones(),
                IpAddr::V6(mask) => mask.to_bits().count_ones(),
            };
            if let (Some(own), Some(mask)) = (of(entry.ifa_addr), of(entry.ifa_netmask)) {
                found.push((own, u8::try_from(ones(mask)).unwrap_or(128)));
            }
            next = entry.ifa_next;
        }
        // SAFETY: the list of getifaddrs, freed once, after its last use.
        unsafe { libc::freeifaddrs(first) };
        Ok(found)
    }

    struct Message {
        length: usize,
        name: Vec<u8>,
        control: Vec<(c_int, c_int, Vec<u8>)>,
    }

    impl Message {
        fn ttl(&self) -> Option<u8> {
            self.control.iter().find_map(|(level, kind, bytes)| {
                let is_ttl = (*level, *kind) == (libc::SOL_IP, libc::IP_TTL)
                    || (*level, *kind) == (libc::SOL_IPV6, libc::IPV6_HOPLIMIT);
                let four = bytes.get(..4).filter(|_| is_ttl)?.try_into().ok()?;
                u8::try_from(c_int::from_ne_bytes(four)).ok()
            })
        }
    }

    fn receive_message(
        socket: BorrowedFd<'_>,
        buffer: &mut [u8],
        flags: c_int,
    ) -> io::Result<Message> {
        // Both aligned for what the kernel lays down there.
        let (mut name, mut control) = ([0_u64; 16], [0_u64; 64]);
        let mut part = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        // SAFETY: all of it is numbers and pointers, for which zero is a value.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_name = name.as_mut_ptr().cast();
        header.msg_namelen = size_of_val(&name) as socklen_t;
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control) as _;
        // SAFETY: the header points to three live buffers with their true lengths.
        let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        let mut parts = Vec::new();
        // SAFETY: the kernel filled the control buffer and wrote its length into the header; the macros stay inside
        // that, and each part's data is as long as its header says, its own length excluded.
        unsafe {
            let mut part = libc::CMSG_FIRSTHDR(&raw const header);
            while let Some(found) = part.as_ref() {
                let data = libc::CMSG_DATA(part);
                let before = libc::CMSG_LEN(0) as usize;
                #[expect(clippy::unnecessary_cast, reason = "the C libraries differ")]
                let length = (found.cmsg_len as usize).saturating_sub(before);
                let bytes = std::slice::from_raw_parts(data, length).to_vec();
                parts.push((found.cmsg_level, found.cmsg_type, bytes));
                part = libc::CMSG_NXTHDR(&raw const header, part);
            }
        }
        let name: Vec<u8> = name.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let named = usize::try_from(header.msg_namelen).unwrap_or(0);
        Ok(Message {
            length: length.min(buffer.len()),
            name: name.get(..named).unwrap_or_default().to_vec(),
            control: parts,
        })
    }

    /// Reads a `sockaddr`.
    fn address(name: &[u8]) -> Option<IpAddr> {
        let family = u16::from_ne_bytes(name.get(..2)?.try_into().ok()?);
        match c_int::from(family) {
            libc::AF_INET => {
                let four: [u8; 4] = name.get(4..8)?.try_into().ok()?;
                Some(Ipv4Addr::from(four).into())
            }
            libc::AF_INET6 => {
                let sixteen: [u8; 16] = name.get(8..24)?.try_into().ok()?;
                Some(Ipv6Addr::from(sixteen).to_canonical())
            }
            _ => None,
        }
    }

    fn open(domain: c_int, kind: c_int, protocol: c_int) -> io::Result<OwnedFd> {
        let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: takes numbers alone.
        let number = check(unsafe { libc::socket(domain, kind, protocol) })?;
        // SAFETY: a descriptor that was just made and that nobody else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(number) })
    }

    /// Wall clock times for everything received.
    fn timed(socket: &OwnedFd) -> io::Result<()> {
        set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
    }

    fn set(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
        set_bytes(socket, level, name, &value.to_ne_bytes())
    }

    fn set_bytes(
        socket: BorrowedFd<'_>,
        level: c_int,
        name: c_int,
        value: &[u8],
    ) -> io::Result<()> {
        // SAFETY: the pointer is to live bytes of the length given.
        let done = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                level,
                name,
                value.as_ptr().cast(),
                value.len() as socklen_t,
            )
        };
        check(done).map(drop)
    }

    fn read(
        socket: BorrowedFd<'_>,
        level: c_int,
        name: c_int,
        into: &mut [u8],
    ) -> io::Result<usize> {
        let mut length = MaybeUninit::new(into.len() as socklen_t);
        // SAFETY: the pointers are to live bytes and to a number that says how many.
        let done = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                level,
                name,
                into.as_mut_ptr().cast(),
                length.as_mut_ptr(),
            )
        };
        check(done)?;
        // SAFETY: it was initialised above; the kernel only lowered it.
        let length = usize::try_from(unsafe { length.assume_init() }).unwrap_or(0);
        Ok(length.min(into.len()))
    }

    fn check(result: c_int) -> io::Result<c_int> {
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(result)
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::{
        io,
        net::IpAddr,
        os::fd::{AsFd, OwnedFd},
    };

    use super::{Family, IcmpReport, Instruction, Received, TcpState};

    /// There is none.
    pub const DATA_IN_SYN: i32 = 0;

    macro_rules! unsupported {
        ($($(#[$note:meta])* fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {$(
            /// Not on this system.
            ///
            /// # Errors
            /// Always.
            pub fn $name($($argument: $type),*) -> io::Result<$result> {
                $(let _ = $argument;)*
                Err(io::ErrorKind::Unsupported.into())
            }
        )*};
    }

    unsupported! {
        fn set_ttl(socket: impl AsFd, family: Family, ttl: u8) -> ();
        fn ttl(socket: impl AsFd, family: Family) -> u8;
        fn report_errors(socket: impl AsFd, family: Family, wanted: bool) -> ();
        fn set_minimum_ttl(socket: impl AsFd, family: Family, minimum: u8) -> ();
        fn allow_data_in_syn(socket: impl AsFd) -> ();
        fn tcp_state(socket: impl AsFd) -> TcpState;
        fn save_syn(listener: impl AsFd) -> ();
        fn saved_syn(socket: impl AsFd) -> Vec<u8>;
        fn next_report(socket: impl AsFd) -> Option<IcmpReport>;
        fn icmp_listener(family: Family) -> OwnedFd;
        fn packet_listener() -> OwnedFd;
        fn activate(packets: impl AsFd) -> ();
        fn attach_filter(socket: impl AsFd, program: &[Instruction]) -> ();
        fn dropped(packets: impl AsFd) -> u32;
        fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Received;
        fn drop_capabilities() -> ();
        fn own_addresses() -> Vec<(IpAddr, u8)>;
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
    };

    fn connection(address: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(address).unwrap();
        save_syn(&listener).unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    #[test]
    fn ttls_and_the_state_of_a_connection() {
        let (mut near, mut far) = connection("127.0.0.1:0");
        set_ttl(&near, Family::V4, 7).unwrap();
        assert_eq!(ttl(&near, Family::V4).unwrap(), 7);
        near.write_all(b"NOOP\r\n").unwrap();
        let mut six = [0; 6];
        far.read_exact(&mut six).unwrap();
        let state = tcp_state(&near).unwrap();
        assert_eq!(state.retransmitted, 0);
        assert!(state.timeout >= Duration::from_millis(100) && state.rtt < state.timeout);
    }

    #[test]
    fn a_saved_syn_begins_with_its_ip_header() {
        let (near, far) = connection("127.0.0.1:0");
        let syn = saved_syn(&far).unwrap();
        let port = near.local_addr().unwrap().port().to_be_bytes();
        assert_eq!((syn[0], &syn[20..22]), (0x45, &port[..]));
        assert_eq!(syn[33] & 0x3f, 2, "SYN");
    }

    #[test]
    fn a_refused_connection_leaves_no_report() {
        let (near, _far) = connection("127.0.0.1:0");
        report_errors(&near, Family::V4, true).unwrap();
        assert_eq!(next_report(&near).unwrap(), None);
    }

    #[test]
    fn a_minimum_ttl_drops_what_came_too_far() {
        let (near, mut far) = connection("127.0.0.1:0");
        set_ttl(&far, Family::V4, 60).unwrap();
        set_minimum_ttl(&near, Family::V4, 61).unwrap();
        far.write_all(b"x").unwrap();
        near.set_read_timeout(Some(Duration::from_millis(60)))
            .unwrap();
        let mut one = [0];
        assert!((&near).read_exact(&mut one).is_err(), "dropped");
        set_minimum_ttl(&near, Family::V4, 60).unwrap();
        near.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        (&near).read_exact(&mut one).unwrap();
    }

    #[test]
    fn our_own_addresses_have_prefixes() {
        let own = own_addresses().unwrap();
        assert!(own.contains(&(IpAddr::from([127, 0, 0, 1]), 8)), "{own:?}");
    }
}
