//! Writes logs as servers write them, by their documentation: a few hundred made-up requests for
//! each server, in two files as a rotation leaves them. Every address is one that is reserved for
//! documentation (RFC 5737, RFC 3849). Some agents have quotes and bytes that are no text, one line
//! of each log is cut in the middle.
//!
//! ```text
//! cargo run --features cli --example preset_logs -- DIR
//! ```

use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// 2025-03-03 06:00:00 UTC.
const START_SECS: i64 = 1_740_981_600;

const REQUESTS: u32 = 400;

fn main() -> io::Result<()> {
    let directory = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "target/preset-logs".to_owned());
    fs::create_dir_all(&directory)?;
    write_all(Path::new(&directory))
}

/// One request.
struct Visit {
    number: u32,
    secs: i64,
    ip: String,
    method: &'static str,
    path: String,
    query: &'static str,
    status: u16,
    user: &'static str,
    agent: Agent,
}

#[derive(Clone, Copy, PartialEq)]
enum Agent {
    Plain,
    Quotes,
    /// With a byte that is no UTF-8.
    Odd,
}

fn visit(number: u32) -> Visit {
    let client = number * number % 23;
    Visit {
        number,
        secs: START_SECS + i64::from(number / 3),
        ip: match client % 4 {
            0 => format!("2001:db8:{client:x}::{:x}", number % 7 + 1),
            _ => format!("192.0.2.{client}"),
        },
        method: if number % 10 == 9 { "POST" } else { "GET" },
        path: match number % 10 {
            0..5 => format!("/items/{}", number % 37),
            5..8 => "/search".to_owned(),
            8 => "/caf%C3%A9".to_owned(),
            _ => "/login".to_owned(),
        },
        query: if number % 10 == 6 { "q=a%20b&n=1" } else { "" },
        status: if number.is_multiple_of(13) { 404 } else { 200 },
        user: if client == 3 { "eve" } else { "-" },
        agent: match number % 11 {
            0 => Agent::Quotes,
            1 => Agent::Odd,
            _ => Agent::Plain,
        },
    }
}

impl Visit {
    fn target(&self) -> String {
        match self.query {
            "" => self.path.clone(),
            query => format!("{}?{query}", self.path),
        }
    }

    fn at(&self, format: &str) -> String {
        let time = Timestamp::from_second(self.secs).unwrap_or_default();
        time.to_zoned(TimeZone::UTC).strftime(format).to_string()
    }

    fn common_time(&self) -> String {
        self.at("%d/%b/%Y:%H:%M:%S +0000")
    }

    /// The agent, with what stands for a quote and for a byte that is no text.
    fn agent(&self, quote: &str, odd: &[u8]) -> Vec<u8> {
        match self.agent {
            Agent::Plain => b"Mozilla/5.0 (X11; Linux x86_64)".to_vec(),
            Agent::Quotes => format!("say {quote}hi{quote} x").into_bytes(),
            Agent::Odd => [b"odd/", odd, b" 1.0"].concat(),
        }
    }

    fn with_port(&self) -> String {
        match self.ip.contains(':') {
            true => format!("[{}]:{}", self.ip, 40_000 + self.number),
            false => format!("{}:{}", self.ip, 40_000 + self.number),
        }
    }
}

/// Parts of a line: texts, or bytes that are none.
fn line(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn combined(visit: &Visit, quote: &str, odd: &[u8], behind: &str) -> Vec<u8> {
    let before = format!(
        "{} - {} [{}] \"{} {} HTTP/1.1\" {} {} \"-\" \"",
        visit.ip,
        visit.user,
        visit.common_time(),
        visit.method,
        visit.target(),
        visit.status,
        100 + visit.number,
    );
    line(&[
        before.as_bytes(),
        &visit.agent(quote, odd),
        b"\"",
        behind.as_bytes(),
    ])
}

fn nginx_json(visit: &Visit) -> Vec<u8> {
    let before = format!(
        "{{\"time_iso8601\":\"{}\",\"remote_addr\":\"{}\",\"remote_user\":\"{}\",\
         \"request\":\"{} {} HTTP/1.1\",\"uri\":\"{}\",\"status\":\"{}\",\
         \"request_time\":\"0.012\",\"http_user_agent\":\"",
        visit.at("%Y-%m-%dT%H:%M:%S+00:00"),
        visit.ip,
        visit.user.trim_matches('-'),
        visit.method,
        visit.target(),
        visit.path,
        visit.status,
    );
    line(&[before.as_bytes(), &visit.agent("\\\"", b"\xff"), b"\"}"])
}

fn caddy(visit: &Visit) -> Vec<u8> {
    let before = format!(
        "{{\"level\":\"info\",\"ts\":{}.25,\"logger\":\"http.log.access\",\
         \"msg\":\"handled request\",\"request\":{{\"remote_ip\":\"{ip}\",\"remote_port\":\"4123\",\
         \"client_ip\":\"{ip}\",\"proto\":\"HTTP/2.0\",\"method\":\"{}\",\"host\":\"a.example\",\
         \"uri\":\"{}\",\"headers\":{{\"Accept\":[\"*/*\"],\"User-Agent\":[\"",
        visit.secs,
        visit.method,
        visit.target(),
        ip = visit.ip,
    );
    let after = format!(
        "\"]}}}},\"bytes_read\":0,\"user_id\":\"\",\"duration\":0.0009,\"size\":10,\"status\":{},\
         \"resp_headers\":{{\"Server\":[\"Caddy\"]}}}}",
        visit.status,
    );
    line(&[
        before.as_bytes(),
        &visit.agent("\\\"", b"\\ufffd"),
        after.as_bytes(),
    ])
}

fn traefik_json(visit: &Visit) -> Vec<u8> {
    let before = format!(
        "{{\"ClientAddr\":\"{}\",\"ClientHost\":\"{}\",\"ClientPort\":\"4123\",\
         \"ClientUsername\":\"{}\",\"DownstreamStatus\":{},\"Duration\":123456,\
         \"RequestAddr\":\"a.example\",\"RequestMethod\":\"{}\",\"RequestPath\":\"{}\",\
         \"RequestProtocol\":\"HTTP/1.1\",\"StartUTC\":\"{}\",\"level\":\"info\",\"msg\":\"\",\
         \"request_User-Agent\":\"",
        visit.with_port(),
        visit.ip,
        visit.user,
        visit.status,
        visit.method,
        visit.target(),
        visit.at("%Y-%m-%dT%H:%M:%S.123456789Z"),
    );
    let after = format!("\",\"time\":\"{}\"}}", visit.at("%Y-%m-%dT%H:%M:%SZ"));
    line(&[
        before.as_bytes(),
        &visit.agent("\\\"", b"\xff"),
        after.as_bytes(),
    ])
}

fn alb(visit: &Visit) -> Vec<u8> {
    let before = format!(
        "h2 {} app/my-lb/50dc6c495c0c9188 {} 10.0.0.1:80 0.000 0.001 0.000 {status} {status} 34 \
         366 \"{} https://www.example.com:443{} HTTP/2.0\" \"",
        visit.at("%Y-%m-%dT%H:%M:%S.186641Z"),
        visit.with_port(),
        visit.method,
        visit.target(),
        status = visit.status,
    );
    let after = b"\" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 \
                  arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/t/73e2d6 \
                  \"Root=1-58337281-1d84f3d73c47ec4e58577259\" \"www.example.com\" \"-\" 0 \
                  2025-03-03T06:00:00.364000Z \"forward\" \"-\" \"-\" \"10.0.0.1:80\" \
                  \"200\" \"-\" \"-\"";
    line(&[before.as_bytes(), &visit.agent("\\x22", b"\\xff"), after])
}

fn cloudfront(visit: &Visit) -> Vec<u8> {
    let query = if visit.query.is_empty() {
        "-"
    } else {
        visit.query
    };
    format!(
        "{}\tLHR62-C1\t2390282\t{}\t{}\td111111abcdef8.cloudfront.net\t{}\t{}\t-\t\
         Mozilla/5.0%20(X11)%20%22x%22\t{query}\t-\tHit\tid==\td1.example\thttps\t23\t0.001\t-\t\
         TLSv1.2\tECDHE\tHit\tHTTP/2.0\t-\t-\t11040\t0.001\tHit\ttext/html\t78\t-\t-",
        visit.at("%Y-%m-%d\t%H:%M:%S"),
        visit.ip,
        visit.method,
        visit.path,
        visit.status,
    )
    .into_bytes()
}

const CLOUDFRONT_HEAD: &str = "#Version: 1.0\n#Fields: date time x-edge-location sc-bytes c-ip \
    cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) cs-uri-query cs(Cookie) \
    x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken \
    x-forwarded-for ssl-protocol ssl-cipher x-edge-response-result-type cs-protocol-version \
    fle-status fle-encrypted-fields c-port time-to-first-byte x-edge-detailed-result-type \
    sc-content-type sc-content-len sc-range-start sc-range-end\n";

fn s3(visit: &Visit) -> Vec<u8> {
    format!(
        "79a59df900b949e55d96a1e698fb bucket [{}] {} arn:aws:iam::1:user/a 3E57427F33A59F07 \
         REST.{}.OBJECT key \"{} {} HTTP/1.1\" {} - 2662992 3462992 70 10 \"-\" \"S3/0.4\" - \
         id= SigV4 ECDHE AuthHeader b.s3.example TLSv1.2 - -",
        visit.common_time(),
        visit.ip,
        visit.method,
        visit.method,
        visit.target(),
        visit.status,
    )
    .into_bytes()
}

fn haproxy(visit: &Visit) -> Vec<u8> {
    format!(
        "{} lb haproxy[14389]: {}:{} [{}] http-in static/srv1 10/0/30/69/109 {} 2750 - - ---- \
         1/1/1/1/0 0/0 {{1wt.eu|#22x#22}} {{}} \"{} {} HTTP/1.1\"",
        visit.at("%b %e %H:%M:%S"),
        visit.ip,
        40_000 + visit.number,
        visit.at("%d/%b/%Y:%H:%M:%S.655"),
        visit.status,
        visit.method,
        visit.target(),
    )
    .into_bytes()
}

const IIS_HEADS: [&str; 2] = [
    "#Software: Microsoft Internet Information Services 10.0\r\n#Version: 1.0\r\n\
     #Date: 2025-03-03 06:00:00\r\n#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query \
     s-port \
     cs-username c-ip cs(User-Agent) sc-status\r\n",
    "#Software: Microsoft Internet Information Services 10.0\r\n#Version: 1.0\r\n\
     #Date: 2025-03-03 06:01:00\r\n#Fields: date time c-ip cs-username cs-method cs-uri-stem \
     cs-uri-query sc-status cs(User-Agent) time-taken\r\n",
];

fn iis(visit: &Visit, is_rotated: bool) -> Vec<u8> {
    let query = if visit.query.is_empty() {
        "-"
    } else {
        visit.query
    };
    let agent = visit.agent("\"\"", b"\xff");
    let agent: Vec<u8> = agent
        .iter()
        .map(|byte| if *byte == b' ' { b'+' } else { *byte })
        .collect();
    let when = visit.at("%Y-%m-%d %H:%M:%S");
    let Visit {
        method,
        path,
        user,
        ip,
        status,
        ..
    } = visit;
    let (before, after) = match is_rotated {
        false => (
            format!("{when} 10.0.0.9 {method} {path} {query} 443 {user} {ip} "),
            format!(" {status}\r"),
        ),
        true => (
            format!("{when} {ip} {user} {method} {path} {query} {status} "),
            " 15\r".to_owned(),
        ),
    };
    line(&[before.as_bytes(), &agent, after.as_bytes()])
}

fn envoy(visit: &Visit) -> Vec<u8> {
    let before = format!(
        "[{}] \"{} {} HTTP/2\" {} - 154 0 226 100 \"{}\" \"",
        visit.at("%Y-%m-%dT%H:%M:%S.310Z"),
        visit.method,
        visit.target(),
        visit.status,
        visit.ip,
    );
    let after = b"\" \"cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2\" \"locations\" \"10.0.2.1:80\"";
    line(&[before.as_bytes(), &visit.agent("'", b"\xff"), after])
}

fn envoy_json(visit: &Visit) -> Vec<u8> {
    format!(
        "{{\"start_time\":\"{}\",\"method\":\"{}\",\"path\":\"{}\",\"protocol\":\"HTTP/1.1\",\
         \"response_code\":{},\"response_flags\":\"-\",\"bytes_received\":0,\"bytes_sent\":9,\
         \"duration\":3,\"x_forwarded_for\":null,\"user_agent\":\"x\",\"authority\":\"a.example\",\
         \"downstream_remote_address\":\"{}\",\"requested_server_name\":null}}",
        visit.at("%Y-%m-%dT%H:%M:%S.310Z"),
        visit.method,
        visit.target(),
        visit.status,
        visit.with_port(),
    )
    .into_bytes()
}

fn cloudflare(visit: &Visit) -> Vec<u8> {
    let before = format!(
        "{{\"ClientIP\":\"{}\",\"ClientRequestHost\":\"a.example\",\"ClientRequestMethod\":\"{}\",\
         \"ClientRequestURI\":\"{}\",\"EdgeEndTimestamp\":\"x\",\"EdgeResponseBytes\":9,\
         \"EdgeResponseStatus\":{},\"EdgeStartTimestamp\":{}000000000,\"RayID\":\"3a6050\",\
         \"ClientRequestUserAgent\":\"",
        visit.ip,
        visit.method,
        visit.target(),
        visit.status,
        visit.secs,
    );
    line(&[before.as_bytes(), &visit.agent("\\\"", b"\\u00ff"), b"\"}"])
}

/// A name, and what writes a line; true for a line behind the rotation.
type Server = (&'static str, fn(&Visit, bool) -> Vec<u8>);

const SERVERS: [Server; 15] = [
    ("nginx", |visit, _| combined(visit, "\\x22", b"\\xFF", "")),
    ("nginx-timed", |visit, _| {
        combined(visit, "\\x22", b"\\xFF", " 0.012 \"-\"")
    }),
    ("nginx-json", |visit, _| nginx_json(visit)),
    ("apache", |visit, _| combined(visit, "\\\"", b"\\xff", "")),
    ("caddy", |visit, _| caddy(visit)),
    ("traefik", |visit, _| {
        let behind = format!(
            " {} \"web@docker\" \"http://10.0.0.1:80\" 3ms",
            visit.number
        );
        combined(visit, "\\\"", b"\xff", &behind)
    }),
    ("traefik-json", |visit, _| traefik_json(visit)),
    ("alb", |visit, _| alb(visit)),
    ("cloudfront", |visit, _| cloudfront(visit)),
    ("s3", |visit, _| s3(visit)),
    ("haproxy", |visit, _| haproxy(visit)),
    ("iis", iis),
    ("envoy", |visit, _| envoy(visit)),
    ("envoy-json", |visit, _| envoy_json(visit)),
    ("cloudflare", |visit, _| cloudflare(visit)),
];

/// Writes `NAME.log.1`, the older, and `NAME.log` for each server into `directory`.
///
/// # Errors
/// As the files'.
pub(crate) fn write_all(directory: &Path) -> io::Result<()> {
    for (name, write) in SERVERS {
        for is_rotated in [false, true] {
            let mut log = match (name, is_rotated) {
                ("iis", rotated) => IIS_HEADS[usize::from(rotated)].as_bytes().to_vec(),
                ("cloudfront", _) => CLOUDFRONT_HEAD.as_bytes().to_vec(),
                _ => Vec::new(),
            };
            let half = REQUESTS / 2;
            let numbers = if is_rotated { half..REQUESTS } else { 0..half };
            for visit in numbers.map(visit) {
                let mut line = write(&visit, is_rotated);
                if visit.number == half + 50 {
                    // A full disk, say.
                    line.truncate(line.len() * 2 / 5);
                }
                log.extend(line);
                log.push(b'\n');
            }
            let end = if is_rotated { ".log" } else { ".log.1" };
            fs::write(directory.join(format!("{name}{end}")), log)?;
        }
    }
    Ok(())
}
