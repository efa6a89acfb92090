//! Rate limits: a token bucket for each address and each token of the API.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The maximum number of buckets. If all are in use, further addresses and tokens share one.
const MAX_BUCKETS: usize = 10_000;

/// The number of seconds of requests that a client may send at once.
const BURST_SECONDS: f64 = 4.0;

/// Whose requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum RateKey {
    /// An IPv4 address, or an IPv6 network of 64 bits, which one client can control alone.
    Address(IpAddr),
    /// The name of a token.
    Token(String),
    /// Addresses and tokens without a bucket of their own.
    Others,
}

impl RateKey {
    /// Returns the key of an address.
    pub(super) fn of(address: IpAddr) -> Self {
        Self::Address(match address {
            IpAddr::V6(six) if six.to_ipv4_mapped().is_none() => {
                let [a, b, c, d, ..] = six.segments();
                IpAddr::from([a, b, c, d, 0, 0, 0, 0])
            }
            other => other.to_canonical(),
        })
    }
}

/// The number of requests that were left at a time.
#[derive(Debug)]
struct TokenBucket {
    left: f64,
    at: Instant,
}

/// Limits the requests of each key.
#[derive(Debug)]
pub(super) struct RateLimiter {
    per_second: f64,
    buckets: Mutex<HashMap<RateKey, TokenBucket>>,
}

impl RateLimiter {
    /// Creates a limiter that admits this many requests per second for each key, and four seconds of them at once.
    pub(super) fn new(per_second: u32) -> Self {
        Self { per_second: f64::from(per_second), buckets: Mutex::default() }
    }

    /// Counts and admits a request.
    ///
    /// # Errors
    /// The request is refused. Contains the number of seconds after which the next request is admitted.
    pub(super) fn admit(&self, key: RateKey, now: Instant) -> Result<(), u64> {
        let full = self.per_second * BURST_SECONDS;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let refilled = |bucket: &TokenBucket| {
            let elapsed = now.saturating_duration_since(bucket.at).as_secs_f64();
            (bucket.left + elapsed * self.per_second).min(full)
        };
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(&key) {
            // A full bucket is the same as a new one.
            buckets.retain(|_, bucket| refilled(bucket) < full);
        }
        let key = if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(&key) { RateKey::Others } else { key };
        let bucket = buckets.entry(key).or_insert(TokenBucket { left: full, at: now });
        let left = refilled(bucket);
        *bucket = TokenBucket { left, at: now };
        if left < 1.0 {
            return Err(((1.0 - left) / self.per_second).ceil() as u64);
        }
        bucket.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn burst_is_admitted_and_then_the_rate() {
        let limiter = RateLimiter::new(10);
        let (start, key) = (Instant::now(), RateKey::Token("a".into()));
        let admitted =
            |at: Instant, count: usize| (0..count).filter(|_| limiter.admit(key.clone(), at).is_ok()).count();
        assert_eq!(admitted(start, 100), 40, "four seconds of requests at once");
        assert_eq!(limiter.admit(key.clone(), start), Err(1));
        assert_eq!(admitted(start + Duration::from_secs(1), 100), 10);
        assert_eq!(limiter.admit(RateKey::Token("b".into()), start), Ok(()), "other tokens have their own limit");
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_bucket_and_the_number_of_buckets_is_bounded() {
        let of = |text: &str| RateKey::of(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        let limiter = RateLimiter::new(1);
        let now = Instant::now();
        for number in 0..20_000_u32 {
            let _ = limiter.admit(RateKey::of(IpAddr::from(number.to_be_bytes())), now);
        }
        assert!(limiter.buckets.lock().unwrap().len() <= MAX_BUCKETS + 1);
    }
}
