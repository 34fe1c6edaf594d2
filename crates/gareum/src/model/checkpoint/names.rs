//! Under which names a tensor may be stored: with or without the encoder's prefix, behind what wrappers put before everything, with the
//! names of older versions, or only under the name that it shares its values with.

use std::collections::BTreeMap;

/// What wrappers of a model put before its names: several GPUs, compilation, and classes that keep the encoder as `model`.
const WRAPPERS: [&str; 7] = [
    "",
    "module.",
    "model.",
    "_orig_mod.",
    "module._orig_mod.",
    "_orig_mod.module.",
    "module.model.",
];

/// Names (from some dot on) of one tensor; a checkpoint may hold it under any of them.
const TIED: [&[&str]; 3] = [
    &[
        "shared.weight",
        "encoder.embed_tokens.weight",
        "decoder.embed_tokens.weight",
    ],
    &["embed_tokens.weight", "lm_head.weight"],
    &["embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"],
];

/// The names to look for, best first. `prefix` is the encoder's.
pub(super) fn candidates(name: &str, prefix: &str) -> impl Iterator<Item = String> {
    let bare = name
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('.'))
        .filter(|_| !prefix.is_empty());
    let own = [Some(name), bare].map(|name| name.map(str::to_owned));
    let old = own.clone().map(|name| old_norm(&name?));
    let known: Vec<String> = own.into_iter().chain(old).flatten().collect();
    let tied = known.iter().flat_map(|name| tied(name)).collect::<Vec<_>>();
    let wrapped = |names: Vec<String>| {
        let under = move |wrapper: &&str| names.iter().map(|name| format!("{wrapper}{name}")).collect::<Vec<_>>();
        WRAPPERS.iter().flat_map(under)
    };
    wrapped(known).chain(wrapped(tied))
}

/// The old name of a layer norm's tensor (`gamma`, `beta`).
fn old_norm(name: &str) -> Option<String> {
    let renamed = |from: &str, to: &str| Some(format!("{}{to}", name.strip_suffix(from)?));
    name.contains("LayerNorm.")
        .then(|| renamed(".weight", ".gamma").or_else(|| renamed(".bias", ".beta")))
        .flatten()
}

fn tied(name: &str) -> Vec<String> {
    let mut names = Vec::new();
    for group in TIED {
        let own = group
            .iter()
            .find_map(|own| name.strip_suffix(own).map(|before| (*own, before)));
        let own = own.filter(|(_, before)| before.is_empty() || before.ends_with('.'));
        if let Some((own, before)) = own {
            let others = group.iter().filter(|other| **other != own);
            // The other name may stand at another depth: `model.decoder.embed_tokens` beside `lm_head`.
            names.extend(others.flat_map(|other| [format!("{before}{other}"), (*other).to_owned()]));
        }
    }
    names
}

/// A stored name with its beginning replaced: of several that fit, the longest.
pub(super) fn mapped(stored: &str, prefix_map: &BTreeMap<String, String>) -> String {
    let fitting = prefix_map.iter().filter(|(from, _)| stored.starts_with(from.as_str()));
    match fitting.max_by_key(|(from, _)| from.len()) {
        Some((from, to)) => format!("{to}{}", &stored[from.len()..]),
        None => stored.to_owned(),
    }
}

/// The `prefix_map` under which one of the `stored` names would be the `missing` one.
pub(super) fn suggestion<'a>(missing: &str, stored: impl Iterator<Item = &'a str>) -> Option<String> {
    let (prefix, bare) = missing.split_once('.')?;
    // A short rest, such as `weight`, would fit anything.
    if bare.matches('.').count() < 2 {
        return None;
    }
    let before = |stored: &'a str| stored.strip_suffix(bare).filter(|before| before.ends_with('.'));
    let found = stored.filter_map(before).min_by_key(|before| before.len())?;
    Some(format!("prefix_map = {{ \"{found}\" = \"{prefix}.\" }}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_begin_with_the_name_itself() {
        let check = |name: &str, prefix: &str, stored: &str| {
            let found = candidates(name, prefix).any(|candidate| candidate == stored);
            assert!(found, "{name} is not looked for as {stored}");
        };
        assert_eq!(
            candidates("bert.x.weight", "bert").next().as_deref(),
            Some("bert.x.weight")
        );
        let norm = "bert.embeddings.LayerNorm.weight";
        check(norm, "bert", "embeddings.LayerNorm.weight");
        check(norm, "bert", "bert.embeddings.LayerNorm.gamma");
        check(norm, "bert", "module.bert.embeddings.LayerNorm.gamma");
        check(norm, "bert", "_orig_mod.embeddings.LayerNorm.weight");
        check("classifier.weight", "bert", "module.classifier.weight");
        check(
            "bert.embeddings.word_embeddings.weight",
            "bert",
            "cls.predictions.decoder.weight",
        );
        check("model.encoder.embed_tokens.weight", "model", "model.shared.weight");
        check("model.shared.weight", "model", "decoder.embed_tokens.weight");
        let found = candidates("classifier.weight", "bert").any(|candidate| candidate.contains("shared"));
        assert!(!found);
    }

    #[test]
    fn the_longest_prefix_is_replaced() {
        let map = [
            ("encoder.", "roberta."),
            ("encoder.bert.", "bert."),
            ("fc.", "classifier."),
        ];
        let map = map
            .map(|(from, to)| (from.to_owned(), to.to_owned()))
            .into_iter()
            .collect();
        for (stored, expected) in [
            ("encoder.bert.pooler.dense.bias", "bert.pooler.dense.bias"),
            ("encoder.layer", "roberta.layer"),
            ("fc.weight", "classifier.weight"),
            ("other.fc.weight", "other.fc.weight"),
        ] {
            assert_eq!(mapped(stored, &map), expected);
        }
    }

    #[test]
    fn a_map_is_suggested_where_names_end_alike() {
        let stored = ["net.0.embeddings.LayerNorm.weight", "fc.weight"];
        let suggest = |missing| suggestion(missing, stored.into_iter());
        assert_eq!(
            suggest("bert.embeddings.LayerNorm.weight").as_deref(),
            Some("prefix_map = { \"net.0.\" = \"bert.\" }")
        );
        assert_eq!(suggest("classifier.weight"), None);
        assert_eq!(suggest("bert.embeddings.word_embeddings.weight"), None);
    }
}
