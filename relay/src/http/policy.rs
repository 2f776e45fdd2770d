//! What a browser may do with the app: nothing but what the app needs, whatever anybody gets into the page.

use axum::http::{HeaderName, HeaderValue, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

/// What all answers say.
pub(super) const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ),
];

/// The content security policy (CSP Level 3) of a page with this text: its own inline scripts run, named by their hashes, and no others;
/// nothing is framed, embedded or sent as a form. It connects to peers and resolvers anywhere, since people name these themselves, but
/// in the clear only by WebSocket, which has its own encryption inside, or to this machine.
pub(super) fn content_security_policy(page: &str) -> HeaderValue {
    let hashes: String = inline_scripts(page)
        .map(|script| format!(" 'sha256-{}'", STANDARD.encode(Sha256::digest(script.as_bytes()))))
        .collect();
    let policy = format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'{hashes}; worker-src 'self'; style-src 'self'; \
         style-src-attr 'unsafe-inline'; img-src 'self' data:; \
         connect-src 'self' ws: wss: https: http://127.0.0.1:* http://localhost:*; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("the parts above and Base64 are visible ASCII")
}

/// The scripts that stand in a page themselves.
fn inline_scripts(page: &str) -> impl Iterator<Item = &str> {
    page.split("<script").skip(1).filter_map(|rest| {
        let (attributes, rest) = rest.split_once('>')?;
        let (script, _) = rest.split_once("</script>")?;
        (!attributes.contains("src=")).then_some(script)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_may_run_its_own_scripts_and_no_others() {
        let page = "<script>alert(1)</script><script src=\"/x.js\"></script><script type=\"module\">a > b</script><script>half";
        assert_eq!(inline_scripts(page).collect::<Vec<_>>(), ["alert(1)", "a > b"]);
        let policy = content_security_policy("<script>alert(1)</script>");
        // As `echo -n 'alert(1)' | openssl dgst -sha256 -binary | base64` says.
        let hash = "bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI=";
        assert!(
            policy.to_str().unwrap().contains(&format!("'wasm-unsafe-eval' 'sha256-{hash}';")),
            "{policy:?}"
        );
        let bare = content_security_policy("");
        assert!(!bare.to_str().unwrap().contains("sha256"));
        let directives: Vec<Vec<_>> =
            bare.to_str().unwrap().split("; ").map(|directive| directive.split(' ').collect()).collect();
        assert!(directives.contains(&vec!["script-src", "'self'", "'wasm-unsafe-eval'"]), "{directives:?}");
        assert!(directives.iter().flatten().all(|source| !["*", "'unsafe-eval'", "data:*"].contains(source)));
    }
}
