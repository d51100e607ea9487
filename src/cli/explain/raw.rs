//! A request as it stands on the wire.

use super::Written;

/// Reads a head and a body. Lines end with or without a carriage return. What says how the body is cut
/// into pieces is left out: it is taken as it is.
///
/// # Errors
/// What is wrong with the head.
pub(super) fn request(bytes: &[u8]) -> Result<Written, String> {
    let (head, body) = split(bytes);
    let head = std::str::from_utf8(head).map_err(|_| "the head is not UTF-8".to_owned())?;
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default();
    let mut words = first.split(' ');
    let (method, target, version) = match (words.next(), words.next(), words.next(), words.next()) {
        (Some(method), Some(target), version, None) if !method.is_empty() => {
            (method, target, version.unwrap_or("HTTP/1.1"))
        }
        _ => return Err(format!("line 1: `{first}` is not `METHOD /path HTTP/1.1`")),
    };
    if !version.starts_with("HTTP/") {
        return Err(format!("line 1: `{version}` is no version of HTTP"));
    }
    let mut headers = Vec::new();
    for (number, line) in (2..).zip(lines) {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| format!("line {number}: `{line}` is not `Name: value`"))?;
        let framing = ["content-length", "transfer-encoding", "connection"];
        if !framing.iter().any(|it| name.eq_ignore_ascii_case(it)) {
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }
    Ok(Written {
        method: method.to_owned(),
        target: target.to_owned(),
        headers,
        body: body.to_vec(),
        secure: false,
    })
}

/// The head, and what follows its empty line.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let ends = ["\r\n\r\n", "\n\n"].iter().filter_map(|end| {
        let at = memchr::memmem::find(bytes, end.as_bytes())?;
        Some((at, at + end.len()))
    });
    match ends.min() {
        Some((head, body)) => (
            bytes.get(..head).unwrap_or_default(),
            bytes.get(body..).unwrap_or_default(),
        ),
        None => (bytes.trim_ascii_end(), b""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_on_the_wire_is_read_with_either_end_of_line() {
        for end in ["\r\n", "\n"] {
            let text =
                format!("POST /a HTTP/1.1{end}Host: h{end}Content-Length: 9{end}{end}{{}}\n\n");
            let written = request(text.as_bytes()).unwrap();
            assert_eq!(
                (written.method.as_str(), written.target.as_str()),
                ("POST", "/a")
            );
            assert_eq!(written.headers, [("Host".to_owned(), "h".to_owned())]);
            assert_eq!(written.body, b"{}\n\n");
        }
        let get = request(b"GET /a\n").unwrap();
        assert!(get.body.is_empty() && get.headers.is_empty());
        for bad in [
            "",
            "GET",
            "GET /a HTTP/1.1 x",
            "GET /a FTP/1",
            "GET /a\nno header\n\n",
        ] {
            assert!(request(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
