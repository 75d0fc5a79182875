//! `/.well-known/core`: what is here (RFC 6690).

use crate::codec::Code;
use crate::request::{Method, Request, Response};

/// Content-Format of links.
pub const LINK_FORMAT: u16 = 40;

/// All resources, as EMQ has told them.
const ALL: &str = "</mqtt>,</ps>";

/// What can be asked for by `?href=`, `?rt=` and `?ct=`; who asks gets the attributes too.
const RESOURCES: [(&str, &str, &str, &str); 2] = [
    ("/mqtt", "", "", "</mqtt>"),
    ("/ps", "core.ps", "40", "</ps>;rt=\"core.ps\";ct=40"),
];

/// Answers a request. Nobody has to say who he is for it.
pub fn answer(request: &Request<'_>) -> Response {
    if request.method != Method::Get {
        return Response::new(Code::METHOD_NOT_ALLOWED);
    }
    let filters: Vec<_> = request
        .query()
        .filter(|(name, _)| matches!(*name, "href" | "rt" | "ct"))
        .collect();
    if filters.is_empty() {
        return Response::content(LINK_FORMAT, ALL);
    }
    let wanted = |(href, rt, ct, _): &(&str, &str, &str, &str)| {
        filters.iter().all(|(name, value)| match *name {
            "href" => is_like(href, value),
            "rt" => !rt.is_empty() && is_like(rt, value),
            _ => !ct.is_empty() && is_like(ct, value),
        })
    };
    let links: Vec<_> = RESOURCES
        .iter()
        .filter(|resource| wanted(resource))
        .map(|(_, _, _, link)| *link)
        .collect();
    Response::content(LINK_FORMAT, links.join(","))
}

/// RFC 6690, section 4.1: an asterisk at the end stands for anything.
fn is_like(text: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(begin) => text.starts_with(begin),
        None => text == pattern,
    }
}
