//! The addresses to which requests may be sent.

use hyper_util::client::legacy::connect::dns::Name;
use std::error::Error;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A future that resolves a name to its addresses.
type ResolveFuture = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Resolves names, and returns only addresses that may be used. The client connects to these addresses, and does not
/// resolve the name again.
#[derive(Clone)]
pub(super) struct AddressGuard {
    /// Whether addresses that are not public may be used.
    allow_private: bool,
    resolve: Arc<dyn Fn(String) -> ResolveFuture + Send + Sync>,
}

impl std::fmt::Debug for AddressGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AddressGuard").field("allow_private", &self.allow_private).finish_non_exhaustive()
    }
}

/// A name resolves only to addresses that are not public. Contains the first one.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not a public address")]
pub(super) struct NotPublic(pub(super) IpAddr);

impl tower::Service<Name> for AddressGuard {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let guard = self.clone();
        Box::pin(async move {
            let found = (guard.resolve)(name.as_str().to_owned()).await?;
            let allowed: Vec<SocketAddr> =
                guard.allowed(found)?.into_iter().map(|address| SocketAddr::new(address, 0)).collect();
            Ok(allowed.into_iter())
        })
    }
}

impl AddressGuard {
    /// Creates a guard that resolves names with the operating system.
    pub(super) fn new(allow_private: bool) -> Self {
        Self::with_resolver(allow_private, |name| {
            Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|found| found.ip()).collect()) })
        })
    }

    /// Creates a guard that resolves names with a function.
    pub(super) fn with_resolver(
        allow_private: bool,
        resolve: impl Fn(String) -> ResolveFuture + Send + Sync + 'static,
    ) -> Self {
        Self { allow_private, resolve: Arc::new(resolve) }
    }

    /// Returns the addresses that may be used.
    fn allowed(&self, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, NotPublic> {
        let (allowed, refused): (Vec<IpAddr>, Vec<IpAddr>) =
            found.into_iter().partition(|&address| self.allow_private || is_public(address));
        match (allowed.is_empty(), refused.first()) {
            (true, Some(&refused)) => Err(NotPublic(refused)),
            _ => Ok(allowed),
        }
    }
}

/// Whether an address belongs to the public internet. The special ranges are those of the IANA registries
/// (<https://www.iana.org/assignments/iana-ipv4-special-registry>, <https://www.iana.org/assignments/iana-ipv6-special-registry>).
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    let is_special = match first {
        // This network, private use, loopback.
        0 | 10 | 127 => true,
        // Shared by the customers of a carrier.
        100 => (64..128).contains(&second),
        // Link-local, with the metadata services of clouds.
        169 => second == 254,
        172 => (16..32).contains(&second),
        // Private use, protocol assignments, documentation, relays of 6to4.
        192 => second == 168 || (second, third) == (0, 0) || (second, third) == (0, 2) || (second, third) == (88, 99),
        // Benchmarks, documentation.
        198 => second == 18 || second == 19 || (second, third) == (51, 100),
        203 => (second, third) == (0, 113),
        // Multicast, reserved, broadcast.
        224.. => true,
        _ => false,
    };
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let is_embedded_public = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // IPv4-mapped, translated (NAT64) and 6to4 addresses reach the IPv4 address that they contain.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_embedded_public(high, low),
        [0x2002, high, low, ..] => is_embedded_public(high, low),
        // Protocol assignments with Teredo, and documentation.
        [0x2001, second, ..] => second >= 0x200 && second != 0xdb8,
        [0x3fff, second, ..] => second >= 0x1000,
        // Only 2000::/3 is assigned to the public internet.
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn special_addresses_are_not_public() {
        for text in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "169.254.170.2",
            "100.64.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "100::1",
            "64:ff9b:1::1",
        ] {
            assert!(!is_public(address(text)), "{text}");
        }
    }

    #[test]
    fn public_addresses_are_public() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "169.253.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2001:4860::8888",
        ] {
            assert!(is_public(address(text)), "{text}");
        }
    }

    #[test]
    fn only_public_addresses_of_a_name_are_used() {
        let guard = AddressGuard::new(false);
        let found = vec![address("10.0.0.1"), address("1.1.1.1")];
        assert_eq!(guard.allowed(found.clone()).unwrap(), [address("1.1.1.1")]);
        let refused = guard.allowed(vec![address("169.254.169.254"), address("::1")]).unwrap_err();
        assert_eq!(refused.0, address("169.254.169.254"));
        assert_eq!(AddressGuard::new(true).allowed(found.clone()).unwrap(), found);
    }
}
