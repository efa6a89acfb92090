//! IP addresses of events, and sets of networks.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks, in which an address is found by a binary search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NetworkSet {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl NetworkSet {
    pub(super) fn new<'n>(networks: impl Iterator<Item = &'n IpNet>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network {
                IpNet::V4(network) => v4.push((network.network().to_bits(), network.broadcast().to_bits())),
                IpNet::V6(network) => v6.push((network.network().to_bits(), network.broadcast().to_bits())),
            }
        }
        Self { v4: Ranges::new(v4), v6: Ranges::new(v6) }
    }

    /// Returns whether an address is in one of the networks.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.contains(address.to_bits()),
            IpAddr::V6(address) => self.v6.contains(address.to_bits()),
        }
    }
}

/// Ranges of numbers: the first and the last number of each, ascending, without overlaps.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ranges<N>(Vec<(N, N)>);

impl<N: Ord + Copy> Ranges<N> {
    fn new(mut ranges: Vec<(N, N)>) -> Self {
        ranges.sort_unstable();
        ranges.dedup_by(|next, kept| {
            let overlaps = next.0 <= kept.1;
            if overlaps {
                kept.1 = kept.1.max(next.1);
            }
            overlaps
        });
        Self(ranges)
    }

    fn contains(&self, number: N) -> bool {
        let after = self.0.partition_point(|&(first, _)| first <= number);
        after > 0 && number <= self.0[after - 1].1
    }
}

/// Returns the IP address that a text is. An IPv4 address in IPv6 notation counts as IPv4.
pub(super) fn address(text: &[u8]) -> Option<IpAddr> {
    // Most texts that are not addresses are the names of services, such as `kms.amazonaws.com`.
    if !text.last()?.is_ascii_hexdigit() && *text.last()? != b':' {
        return None;
    }
    if let Some(address) = ipv4(text) {
        return Some(address.into());
    }
    let address: Ipv6Addr = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(address.to_canonical())
}

/// Returns the IPv4 address that a text is. Accepts the same texts as the standard library, in a third of the time.
fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let (mut address, mut octet, mut digits, mut dots) = (0_u32, 0_u32, 0, 0);
    for &byte in text {
        match byte {
            // A second digit after a zero would be octal in other notations.
            b'0'..=b'9' if digits == 0 || octet > 0 => {
                octet = octet * 10 + u32::from(byte - b'0');
                digits += 1;
                if octet > 255 {
                    return None;
                }
            }
            b'.' if digits > 0 && dots < 3 => {
                address = address << 8 | octet;
                (octet, digits, dots) = (0, 0, dots + 1);
            }
            _ => return None,
        }
    }
    (digits > 0 && dots == 3).then(|| Ipv4Addr::from_bits(address << 8 | octet))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn addresses_are_those_of_the_standard_library(
            text in "[0-9]{1,3}(\\.[0-9]{1,3}){2,4}|[0-9.]{0,16}|[0-9a-f:.]{0,20}|::ffff:[0-9]{1,2}(\\.[0-9]{1,2}){3}|[a-z.]{0,9}"
        ) {
            let expected = text.parse::<IpAddr>().ok().map(|address| address.to_canonical());
            prop_assert_eq!(address(text.as_bytes()), expected, "{}", text);
        }

        #[test]
        fn set_contains_the_addresses_of_its_networks(
            networks in proptest::collection::vec((any::<bool>(), any::<u8>(), 0..=32_u8), 0..8),
            addresses in proptest::collection::vec((any::<bool>(), any::<u8>(), any::<u8>()), 1..20),
        ) {
            let address = |is_v6, first, last| -> IpAddr {
                match is_v6 {
                    true => Ipv6Addr::from_bits(u128::from(first) << 120 | u128::from(last)).into(),
                    false => Ipv4Addr::from_octets([first, 0, 0, last]).into(),
                }
            };
            let networks: Vec<IpNet> = networks
                .into_iter()
                .map(|(is_v6, first, bits)| IpNet::new(address(is_v6, first, 0), bits).unwrap().trunc())
                .collect();
            let set = NetworkSet::new(networks.iter());
            let limits = networks.iter().flat_map(|network| [network.network(), network.broadcast()]);
            let addresses = addresses.into_iter().map(|(is_v6, first, last)| address(is_v6, first, last)).chain(limits);
            for address in addresses {
                let expected = networks.iter().any(|network| network.contains(&address));
                prop_assert_eq!(set.contains(address), expected, "{}", address);
            }
        }
    }
}
