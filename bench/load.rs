//! A client that loads an HTTP server and takes little of the processor itself: `rustc -O bench/load.rs`, nothing else is needed.
//!
//!     load ADDRESS PATH BODIES CONNECTIONS SECONDS [RATE [KEY]]
//!
//! BODIES is a file with a request's JSON a line, taken in turn. Without RATE (or with 0) each connection asks again as soon as it is answered;
//! with it, requests are due at random times (exponential gaps) of so many a second, on whichever connection is free, and their latency counts
//! from when they were due, so that a slow server is not asked more gently. What is asked within the first tenth of the time is not counted, but
//! in `total`, which has all answers of status 200. `per_second` is of the answers of status 200 that came after it and before the end, whenever they
//! were asked for: as many are under way at both. Prints JSON. `broken`: connections that ended before an answer; each is opened again.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

#[derive(Default)]
struct Seen {
    latencies: Vec<f64>,
    statuses: BTreeMap<u16, u64>,
    total: u64,
    broken: u64,
    unopened: u64,
    within: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, address, path, bodies, connections, seconds, rest @ ..] = arguments.as_slice() else {
        eprintln!("load ADDRESS PATH BODIES CONNECTIONS SECONDS [RATE [KEY]]");
        std::process::exit(2);
    };
    let connections: usize = connections.parse().expect("CONNECTIONS is a number");
    let seconds: f64 = seconds.parse().expect("SECONDS is a number");
    let rate: f64 = rest.first().map_or(0.0, |rate| rate.parse().expect("RATE is a number"));
    let key = rest.get(1).map_or(String::new(), |key| format!("Authorization: Bearer {key}\r\n"));
    let bodies = std::fs::read_to_string(bodies).expect("BODIES can be read");
    let requests: Vec<Vec<u8>> = bodies
        .lines()
        .map(|body| {
            let head = format!("POST {path} HTTP/1.1\r\nHost: load\r\n{key}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
            [head.as_bytes(), body.as_bytes()].concat()
        })
        .collect();
    let due: Vec<f64> = arrivals(rate, seconds);
    let (next, start) = (AtomicUsize::new(0), Instant::now());
    let work = || {
        let mut seen = Seen::default();
        let mut stream = None;
        loop {
            let number = next.fetch_add(1, Relaxed);
            let begin = match due.get(number) {
                _ if rate <= 0.0 => start.elapsed().as_secs_f64(),
                None => break,
                Some(&at) => {
                    let wait = at - start.elapsed().as_secs_f64();
                    if wait > 0.0 {
                        std::thread::sleep(Duration::from_secs_f64(wait));
                    }
                    at
                }
            };
            if begin >= seconds {
                break;
            }
            let request = &requests[number % requests.len()];
            if stream.is_none() {
                match TcpStream::connect(address.as_str()) {
                    Ok(opened) => {
                        opened.set_nodelay(true).expect("a socket");
                        opened.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
                        stream = Some(BufReader::new(opened));
                    }
                    Err(_) => {
                        seen.unopened += 1;
                        std::thread::sleep(Duration::from_millis(20));
                        continue;
                    }
                }
            }
            let answered = stream.as_mut().and_then(|stream| ask(stream, request));
            let now = start.elapsed().as_secs_f64();
            match answered {
                None => {
                    seen.broken += 1;
                    stream = None;
                }
                Some((status, closes)) => {
                    if closes {
                        stream = None;
                    }
                    seen.total += u64::from(status == 200);
                    seen.within += u64::from(status == 200 && (seconds / 10.0..seconds).contains(&now));
                    if begin >= seconds / 10.0 {
                        *seen.statuses.entry(status).or_default() += 1;
                        if status == 200 {
                            seen.latencies.push((now - begin) * 1e3);
                        }
                    }
                }
            }
        }
        seen
    };
    let all: Vec<Seen> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|_| std::thread::Builder::new().stack_size(1 << 17).spawn_scoped(scope, work).expect("a thread"))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    print(all, seconds);
}

fn arrivals(rate: f64, seconds: f64) -> Vec<f64> {
    let (mut due, mut at, mut state) = (Vec::new(), 0.0, 0x9E37_79B9_7F4A_7C15_u64);
    while rate > 0.0 && at < seconds {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let uniform = ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        at -= uniform.ln() / rate;
        due.push(at);
    }
    due
}

/// The status, and whether the server closes the connection.
fn ask(stream: &mut BufReader<TcpStream>, request: &[u8]) -> Option<(u16, bool)> {
    stream.get_mut().write_all(request).ok()?;
    let (mut line, mut length, mut closes, mut status) = (String::new(), 0usize, false, None);
    loop {
        line.clear();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if status.is_none() {
            status = Some(line.split(' ').nth(1)?.parse().ok()?);
        } else if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        } else if let Some(value) = lower.strip_prefix("connection:") {
            closes = value.trim() == "close";
        }
    }
    let read = std::io::copy(&mut stream.by_ref().take(length as u64), &mut std::io::sink()).ok()?;
    (read == length as u64).then_some((status?, closes))
}

fn print(all: Vec<Seen>, seconds: f64) {
    let (mut latencies, mut statuses, mut total, mut broken, mut unopened, mut within) = (Vec::new(), BTreeMap::new(), 0, 0, 0, 0);
    for seen in all {
        latencies.extend(seen.latencies);
        seen.statuses.into_iter().for_each(|(status, count)| *statuses.entry(status).or_insert(0) += count);
        (broken, unopened, within) = (broken + seen.broken, unopened + seen.unopened, within + seen.within);
        total += seen.total;
    }
    latencies.sort_by(f64::total_cmp);
    let quantile = |share: f64| match latencies.len() {
        0 => "null".to_owned(),
        count => format!("{:.3}", latencies[((count as f64 * share).ceil() as usize).clamp(1, count) - 1]),
    };
    let statuses: Vec<String> = statuses.iter().map(|(status, count)| format!("\"{status}\": {count}")).collect();
    println!(
        "{{\"answered\": {}, \"per_second\": {:.2}, \"statuses\": {{{}}}, \"total\": {total}, \"broken\": {broken}, \"unopened\": {unopened}, \"p50_ms\": {}, \"p90_ms\": {}, \"p99_ms\": {}, \"max_ms\": {}}}",
        latencies.len(),
        within as f64 / (0.9 * seconds),
        statuses.join(", "),
        quantile(0.5),
        quantile(0.9),
        quantile(0.99),
        quantile(1.0),
    );
}
