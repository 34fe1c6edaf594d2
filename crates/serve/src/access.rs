//! Who asks, and how often they may.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use subtle::ConstantTimeEq;

use crate::error::ServeError;
use crate::failure::Failure;
use crate::settings::{AccessSettings, LimitSettings};

/// The shortest key: what is shorter can be guessed.
const LEAST_KEY: usize = 8;

/// Callers whose rates are kept at a time. More of them forget who has asked least lately.
const MOST_CALLERS: usize = 10_000;

/// Who may ask.
pub struct Keys(Vec<Key>);

struct Key {
    name: String,
    value: Vec<u8>,
}

impl Keys {
    /// The keys of file and environment; none: everybody may ask.
    ///
    /// # Errors
    /// [`ServeError::Keys`].
    pub fn load(settings: &AccessSettings) -> Result<Self, ServeError> {
        let mut keys = Vec::new();
        if let Some(path) = &settings.keys_file {
            let text = std::fs::read_to_string(path).map_err(|error| failed(path, error.to_string()))?;
            for (number, line) in (1..).zip(text.lines().map(str::trim)) {
                if !line.is_empty() && !line.starts_with('#') {
                    let key = Key::parse(line, keys.len());
                    keys.push(key.map_err(|reason| failed(path, format!("line {number}: {reason}")))?);
                }
            }
            if keys.is_empty() {
                // Nobody could ask, or everybody: neither is meant.
                return Err(failed(path, "there is none in the file".to_owned()));
            }
        }
        for key in &settings.keys {
            let place = || PathBuf::from("GAREUM_SERVE_API_KEYS");
            let key = Key::parse(key, keys.len());
            keys.push(key.map_err(|reason| failed(&place(), reason))?);
        }
        Ok(Self(keys))
    }

    /// Whether keys are asked for.
    pub fn are_needed(&self) -> bool {
        !self.0.is_empty()
    }

    /// The name of the key that a request brings. Takes equally long whichever key of the same length it is compared with.
    pub fn name_of(&self, headers: &HeaderMap) -> Option<&str> {
        let given = headers.get(header::AUTHORIZATION)?.as_bytes();
        let (scheme, given) = given.split_at_checked(7)?;
        if !scheme.eq_ignore_ascii_case(b"Bearer ") {
            return None;
        }
        let given = given.trim_ascii();
        let mut found = None;
        for key in &self.0 {
            // No early end: how long it takes says nothing about where the key stands.
            if bool::from(key.value.as_slice().ct_eq(given)) {
                found = Some(key.name.as_str());
            }
        }
        found
    }
}

fn failed(path: &Path, reason: String) -> ServeError {
    ServeError::Keys {
        path: path.to_owned(),
        reason,
    }
}

impl Key {
    fn parse(text: &str, number: usize) -> Result<Self, String> {
        // Keys may end in `=`, as base64 does.
        let named = text.split_once('=').filter(|(name, rest)| {
            let rest = rest.trim_start();
            !name.is_empty() && !rest.is_empty() && !rest.starts_with('=')
        });
        let (name, value) = match named {
            Some((name, value)) => (name.trim().to_owned(), value.trim()),
            None => (format!("key {}", number + 1), text),
        };
        if value.chars().count() < LEAST_KEY {
            return Err(format!("`{name}` is shorter than {LEAST_KEY} characters"));
        }
        if value.contains(|c: char| c.is_whitespace() || !c.is_ascii_graphic()) {
            return Err(format!("`{name}` has characters that a header cannot carry"));
        }
        let value = value.as_bytes().to_vec();
        Ok(Self { name, value })
    }
}

/// Who asks: a key by its name, or an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    /// The name of a key.
    Key(String),
    /// An address; of version 6, the network of one customer.
    Address(IpAddr),
}

impl Caller {
    /// An address as a caller.
    pub fn of_address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            address => address,
        })
    }

    /// The client's address as a proxy in front of the server has put it down.
    pub fn forwarded(headers: &HeaderMap) -> Option<IpAddr> {
        let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
        last.rsplit(',').next()?.trim().parse().ok()
    }
}

/// Texts a second for each caller: a bucket that fills at the rate and holds the burst.
pub struct Rates {
    rate: f64,
    burst: f64,
    buckets: Mutex<HashMap<Caller, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    texts: f64,
    at: Instant,
}

impl Rates {
    /// As the settings say.
    pub fn new(access: &AccessSettings, limits: &LimitSettings) -> Self {
        let burst = match access.burst > 0.0 {
            true => access.burst,
            false => (10.0 * access.texts_per_second).max(limits.texts as f64),
        };
        Self {
            rate: access.texts_per_second,
            burst,
            buckets: Mutex::default(),
        }
    }

    /// Takes `texts` from a caller's bucket.
    ///
    /// # Errors
    /// [`Failure::RateLimited`] if there are not as many in it. What is more than a whole bucket is never let in.
    pub fn take(&self, caller: &Caller, texts: usize) -> Result<(), Failure> {
        self.take_at(caller, texts as f64, Instant::now())
    }

    fn take_at(&self, caller: &Caller, texts: f64, now: Instant) -> Result<(), Failure> {
        if self.rate <= 0.0 {
            return Ok(());
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST_CALLERS && !buckets.contains_key(caller) {
            self.forget(&mut buckets, now);
        }
        let bucket = buckets.entry(caller.clone()).or_insert(Bucket {
            texts: self.burst,
            at: now,
        });
        let filled = self.filled(bucket, now);
        if filled >= texts {
            (bucket.texts, bucket.at) = (filled - texts, now);
            return Ok(());
        }
        let wait = (texts - filled) / self.rate;
        Err(Failure::RateLimited {
            rate: self.rate,
            retry_after: Duration::from_secs_f64(wait.min(86_400.0)),
        })
    }

    fn filled(&self, bucket: &Bucket, now: Instant) -> f64 {
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.texts + since * self.rate).min(self.burst)
    }

    /// Forgets full buckets, which are as good as new, or else the older half.
    fn forget(&self, buckets: &mut HashMap<Caller, Bucket>, now: Instant) {
        buckets.retain(|_, bucket| self.filled(bucket, now) < self.burst);
        if buckets.len() >= MOST_CALLERS {
            let mut times: Vec<Instant> = buckets.values().map(|bucket| bucket.at).collect();
            let middle = times.len() / 2;
            let (_, &mut middle, _) = times.select_nth_unstable(middle);
            buckets.retain(|_, bucket| bucket.at > middle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(lines: &str) -> Result<Keys, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        std::fs::write(&path, lines).unwrap();
        let settings = AccessSettings {
            keys_file: Some(path),
            ..AccessSettings::default()
        };
        Keys::load(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_have_names_and_are_compared_whole() {
        let keys = keys("# ours\n\nshop = abcdefgh12\nZm9vYmFyYmF6==\n").unwrap();
        let name = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            keys.name_of(&headers).map(str::to_owned)
        };
        assert_eq!(name("Bearer abcdefgh12").as_deref(), Some("shop"));
        assert_eq!(name("bearer Zm9vYmFyYmF6==").as_deref(), Some("key 2"));
        for wrong in [
            "abcdefgh12",
            "Bearer abcdefgh1",
            "Bearer abcdefgh123",
            "Bearer ",
            "Basic abcdefgh12",
            "Bearer",
        ] {
            assert_eq!(name(wrong), None, "{wrong}");
        }
        assert_eq!(keys.name_of(&HeaderMap::new()), None);
    }

    #[test]
    fn files_without_usable_keys_are_refused() {
        for (lines, expected) in [
            ("", "there is none in the file"),
            ("# only this\n", "there is none in the file"),
            ("short\n", "line 1: `key 1` is shorter than 8 characters"),
            (
                "a = two words\n",
                "line 1: `a` has characters that a header cannot carry",
            ),
        ] {
            let error = keys(lines).err().unwrap();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn buckets_fill_again() {
        let access = AccessSettings {
            texts_per_second: 2.0,
            burst: 10.0,
            ..AccessSettings::default()
        };
        let rates = Rates::new(&access, &LimitSettings::default());
        let (one, other) = (Caller::Key("a".to_owned()), Caller::Key("b".to_owned()));
        let start = Instant::now();
        assert_eq!(rates.take_at(&one, 10.0, start), Ok(()));
        let refused = rates.take_at(&one, 4.0, start).unwrap_err();
        assert!(matches!(refused, Failure::RateLimited { retry_after, .. } if retry_after == Duration::from_secs(2)));
        assert_eq!(rates.take_at(&other, 4.0, start), Ok(()));
        assert_eq!(rates.take_at(&one, 4.0, start + Duration::from_secs(2)), Ok(()));
        assert!(rates.take_at(&one, 11.0, start + Duration::from_secs(1000)).is_err());
    }

    #[test]
    fn callers_are_forgotten_before_they_are_too_many() {
        let access = AccessSettings {
            texts_per_second: 0.001,
            ..AccessSettings::default()
        };
        let rates = Rates::new(&access, &LimitSettings::default());
        for number in 0..3 * MOST_CALLERS {
            let _ = rates.take(&Caller::Key(number.to_string()), 1);
        }
        assert!(rates.buckets.lock().unwrap().len() <= MOST_CALLERS);
    }
}
