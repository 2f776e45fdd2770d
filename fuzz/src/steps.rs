//! Inputs that are steps: a kind, a length of four bytes, and so many bytes, again and again.

/// The steps of an input. The last may be shorter than it says.
pub(crate) fn steps(mut data: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let ([kind, len @ ..], rest) = data.split_first_chunk::<5>()?;
        let len = usize::try_from(u32::from_le_bytes(*len)).unwrap_or(usize::MAX).min(rest.len());
        let (bytes, rest) = rest.split_at(len);
        data = rest;
        Some((*kind, bytes))
    })
}

/// One step.
pub(crate) fn step(kind: u8, data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).expect("a small step");
    [&[kind][..], &len.to_le_bytes(), data].concat()
}
