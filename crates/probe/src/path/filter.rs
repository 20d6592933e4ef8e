//! Packet filters for packet sockets, as rows of the classic filter's instructions. bpf(4).
//!
//! It must not know who wants which packets.

use hoofbeat_net::sys::Instruction;

pub(crate) const LOAD_BYTE: u16 = 0x30;
pub(crate) const LOAD_HALF: u16 = 0x28;
pub(crate) const LOAD_WORD: u16 = 0x20;
/// From where [`HEADER_LENGTH`] says that the payload begins.
pub(crate) const LOAD_HALF_BEHIND: u16 = 0x48;
/// Four times the low half of a byte, as IPv4 tells its header's length.
pub(crate) const HEADER_LENGTH: u16 = 0xb1;
pub(crate) const JUMP_EQUAL: u16 = 0x15;
pub(crate) const JUMP_ANY_SET: u16 = 0x45;
const SHIFT_RIGHT: u16 = 0x74;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;

/// Takes no packet.
pub(crate) const REJECT: Instruction = (RETURN, 0, 0, 0);

/// Takes so many bytes of the packet.
pub(crate) const fn accept(most: u32) -> Instruction {
    (RETURN, 0, 0, most)
}

/// Takes packets with one of the values at one of the places, and no others.
pub(crate) fn any_of(
    load: u16,
    places: [u32; 2],
    values: &[u32],
    most: u32,
) -> impl Iterator<Item = Instruction> + '_ {
    let look = move |place| {
        let held = values
            .iter()
            .flat_map(move |value| [(JUMP_EQUAL, 0, 1, *value), accept(most)]);
        std::iter::once((load, 0, 0, place)).chain(held)
    };
    places.into_iter().flat_map(look).chain([REJECT])
}

/// One program for each version of IP; whatever is neither is not taken.
pub(crate) fn by_version(v4: &[Instruction], v6: &[Instruction]) -> Vec<Instruction> {
    let over_v4 = u32::try_from(v4.len()).unwrap_or(u32::MAX);
    let mut program = vec![
        (LOAD_BYTE, 0, 0, 0),
        (SHIFT_RIGHT, 0, 0, 4),
        (JUMP_EQUAL, 2, 0, 4),
        (JUMP_EQUAL, 0, 2, 6),
        (JUMP, 0, 0, over_v4 + 2),
        (JUMP, 0, 0, 1),
        REJECT,
    ];
    program.extend(v4);
    program.extend(v6);
    program
}

/// Runs a filter as the kernel does, for the instructions that are used.
#[cfg(test)]
pub(crate) fn accepts(program: &[Instruction], packet: &[u8]) -> bool {
    let (mut at, mut a, mut x) = (0_usize, 0_u32, 0_usize);
    let number = |place: usize, length: usize| {
        let bytes = packet.get(place..place + length)?;
        Some(
            bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u32::from(*byte)),
        )
    };
    loop {
        let (code, jt, jf, k) = program[at];
        at += 1;
        let place = k as usize;
        let loaded = match code {
            LOAD_BYTE => number(place, 1),
            LOAD_HALF => number(place, 2),
            LOAD_WORD => number(place, 4),
            LOAD_HALF_BEHIND => number(x + place, 2),
            _ => Some(a),
        };
        let Some(loaded) = loaded else { return false };
        a = loaded;
        match code {
            LOAD_BYTE | LOAD_HALF | LOAD_WORD | LOAD_HALF_BEHIND => {}
            HEADER_LENGTH => x = usize::from(packet[place] & 15) * 4,
            SHIFT_RIGHT => a >>= k,
            JUMP_EQUAL => at += usize::from(if a == k { jt } else { jf }),
            JUMP_ANY_SET => at += usize::from(if a & k != 0 { jt } else { jf }),
            JUMP => at += place,
            RETURN => return k > 0,
            other => panic!("{other:#x}"),
        }
    }
}
