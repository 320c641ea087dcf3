//! Signatures that minisign 0.11 made, by two keys, of the bytes `a component`.

use super::*;
use crate::error::{Exit, exit_of};

const COMPONENT: &[u8] = b"a component";
const KEY: &str = "RWTBalT81XN5SQpLldzOAhYIuF7oj0wu35lY7RbylsKLNAwf/K9wnqCg";
const OTHER_KEY: &str = "RWQjgPe7imEAN9R5Qp3pjWQNHiXoT7I0I+GKedwoiz/vElvkRrQq00TR";
/// By the first key. Of the component alone: what it is signed as stands in the comment, with a signature of its own.
const SIGNATURE: &str =
    "RUTBalT81XN5SfVJb1Ktwiho4n4JNYkPfb7c0i2KGcPZ3++6dn9vyRnFTaFM3VLSifk873EGM1hNWdWL2S4lHLnUwWwce0obYww=";

fn text(signature: &str, comment: &str, of_comment: &str) -> String {
    format!("untrusted comment: any\n{signature}\ntrusted comment: {comment}\n{of_comment}\n")
}

fn orders_1_4() -> String {
    text(
        SIGNATURE,
        "name:orders version:1.4",
        "t7uIxtm3n9ITrthJsfo/4Ufa4s3eFlplkm4rzvh1Wdrw528k8WHFr4jqK5l0ZYttRTvW1JbWOo10fsmiqa0bCg==",
    )
}

fn by_another_key() -> String {
    text(
        "RUQjgPe7imEAN6NFiVeoJ4KP9NiKr83nmxDRknMbvNZz5GF4skSADdrrc9phlgYt/1BtMHCUpqfbaZEx+WkjzzUa+FjgnukyygE=",
        "name:orders version:1.4",
        "kFRN1JmZvR+SwVPRcKUKkGl8xqPpKLZWBnwb1UzT/jVl730IE3hTCGMYzrjrcb2cu13lbjPfZ8v5ektB7BaFCw==",
    )
}

fn policy(keys: &[&str]) -> Policy {
    let keys = keys.iter().map(|key| Key::parse(key).unwrap()).collect();
    Policy { keys, name: Some("orders".to_owned()), ..Policy::default() }
}

fn refused(component: &[u8], signature: Option<&str>, policy: &Policy) -> String {
    let error = verify(component, signature, policy).unwrap_err();
    assert_eq!(exit_of(&error), Exit::Usage, "{error:#}");
    format!("{error:#}")
}

#[test]
fn a_component_that_is_signed_as_what_is_to_run_is_taken() {
    let origin = verify(COMPONENT, Some(&orders_1_4()), &policy(&[OTHER_KEY, KEY])).unwrap();
    assert_eq!(origin.digest, digest(COMPONENT));
    let signed = origin.signed.unwrap();
    assert_eq!(
        (&*signed.key, &*signed.name, &*signed.version.to_string()),
        ("497973D5FC546AC1", "orders", "1.4")
    );
    verify(COMPONENT, Some(&by_another_key()), &policy(&[OTHER_KEY, KEY])).unwrap();
    let at_least = |version: &str| Policy { at_least: Version::parse(version).ok(), ..policy(&[KEY]) };
    verify(COMPONENT, Some(&orders_1_4()), &at_least("1.4")).unwrap();
    // Without keys nobody asks who signed it.
    assert_eq!(verify(COMPONENT, None, &Policy::default()).unwrap().signed, None);
}

#[test]
fn an_older_version_is_refused() {
    let policy = Policy { at_least: Version::parse("1.4").ok(), ..policy(&[KEY]) };
    let older = text(
        SIGNATURE,
        "name:orders version:1.3.9",
        "CVxU+NUVT2QCyKmhgED68d/i8F8WbCQr0UyXgvj9AZJ1MXojggE/I33vxym5LQ82s8G25oe3Rt1s6r9o2ul4DQ==",
    );
    assert_eq!(
        refused(COMPONENT, Some(&older), &policy),
        "it is of version 1.3.9, and this pipeline has run 1.4"
    );
    // Whoever cannot sign cannot say that it is newer either.
    let tampered = older.replace("1.3.9", "1.4.9");
    assert!(refused(COMPONENT, Some(&tampered), &policy).contains("its comment was changed"));
}

#[test]
fn a_component_that_is_not_signed_or_by_another_or_as_another_is_refused() {
    assert_eq!(refused(COMPONENT, None, &policy(&[KEY])), "it is not signed");
    assert_eq!(
        refused(COMPONENT, Some(&by_another_key()), &policy(&[KEY])),
        "it is signed by key 3700618ABBF78023, which is none of `transform_key`"
    );
    let as_other = text(
        SIGNATURE,
        "name:other version:2",
        "C9x2eLfQEoxwJ0WPfAifjT4aFTHbvZxwSTbBeCOL/c2EzcC+y5lPcjkZRzkIiynfbg+Nuif8MOGcAJyWwo1ODw==",
    );
    assert_eq!(
        refused(COMPONENT, Some(&as_other), &policy(&[KEY])),
        "it is signed as transform `other`, and this pipeline runs `orders`"
    );
    // The id of a key that is trusted, and a signature by one that is not.
    let lines = orders_1_4();
    let forged = by_another_key().replacen("RUQjgPe7imEAN6", "RUTBalT81XN5Sa", 1);
    assert_eq!(key_id(&forged), key_id(&lines));
    assert!(refused(COMPONENT, Some(&forged), &policy(&[KEY])).contains("was changed"));
}

#[test]
fn no_byte_of_component_comment_or_signature_can_change() {
    let good = orders_1_4();
    verify(COMPONENT, Some(&good), &policy(&[KEY])).unwrap();
    for at in 0..COMPONENT.len() {
        let mut changed = COMPONENT.to_vec();
        changed[at] ^= 1;
        assert!(refused(&changed, Some(&good), &policy(&[KEY])).contains("was changed"));
    }
    let trusted = good.find('\n').unwrap() + 1;
    for at in trusted..good.len() - 1 {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        refused(COMPONENT, Some(&String::from_utf8(changed).unwrap()), &policy(&[KEY]));
    }
}

#[test]
fn a_signature_that_says_not_what_of_or_is_of_the_old_form_is_refused() {
    let refused = |signature: &str, comment: &str, of_comment: &str| {
        refused(COMPONENT, Some(&text(signature, comment, of_comment)), &policy(&[KEY]))
    };
    let bare = "vpn8A2+GGjiUMLpeq9FpgAM+YWuAxP7xQ6dMN0vmna6B+Ma+xD68BoMfCaZ1I6ym3CpTtfQJ4XqGJwX3Ag84Ag==";
    let comment = "timestamp:1795981040\tfile:c.wasm\thashed";
    assert_eq!(refused(SIGNATURE, comment, bare), "the comment of its signature has no `name:`");
    let twice = "XIrFQzFLf31Ev3hpkClO0nch33QtJwjqPC9cAkfxcUMV5PoBg/sRmcxKsdraOM17ArsBrU9QmU7QE4guAliLCA==";
    let comment = "name:orders name:other version:1";
    assert_eq!(refused(SIGNATURE, comment, twice), "the comment of its signature has two `name:`");
    let one = "oL8Hm+8EUijwm928mJQTpG4o8CWy97oOsYW8UyLJvkP02PlpWcVp3JNMrs49v+Seds22KHOWMBHHcFr6u4ieCQ==";
    assert!(refused(SIGNATURE, "name:orders version:one", one).contains("`one` is no version"));
    let old = "RWTBalT81XN5SSlKkLMDF7ojTVWPs4Z+vALwYG6pG9l3Mnz5iEO+qj37uyH8YaHpyt30rgsqKlChicixc0ISh6XvPcsKkzAUpQY=";
    let of_old = "BPxQBwMW+q8oo/lzvoBi6R8lM9me7nj5DaSmBC5NBknWiKD/0qT64ArfZb7ixFSnfukIm8d6OZ06NU3LcXGACg==";
    assert!(refused(old, "name:orders version:1.4", of_old).contains("minisign's old form"));
    for text in ["", "\n\n\n\n", "untrusted comment: a\nRUTB\n", "no signature"] {
        assert_eq!(super::told(text).unwrap_err().to_string(), "its signature is none of minisign");
    }
}

#[test]
fn a_component_with_another_digest_than_the_pinned_one_is_refused_signed_or_not() {
    let pinned = |digest: &str| Policy { digest: Some(parse_digest(digest).unwrap()), ..policy(&[KEY]) };
    let own = format!("sha256:{}", digest(COMPONENT));
    verify(COMPONENT, Some(&orders_1_4()), &pinned(&own)).unwrap();
    verify(COMPONENT, Some(&orders_1_4()), &pinned(&own.to_uppercase().replace("SHA256", "sha256"))).unwrap();
    let other = format!("sha256:{}", "0".repeat(64));
    assert_eq!(
        refused(COMPONENT, Some(&orders_1_4()), &pinned(&other)),
        format!("it is {own}, and `transform_digest` says {other}")
    );
    for wrong in [
        "",
        "sha256:",
        &own[7..],
        &own[..70],
        &format!("{own}0"),
        &own.replace("sha256", "sha1"),
        &own.replace('a', "g"),
    ] {
        assert!(parse_digest(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_no_public_key_is_refused() {
    for wrong in
        ["", "RWQ", &KEY[1..], &KEY.replacen("RW", "AA", 1), "untrusted comment: minisign public key"]
    {
        assert!(Key::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_signature_stands_beside_the_component() {
    let folder = tempfile::tempdir().unwrap();
    let component = folder.path().join("rule.wasm");
    assert_eq!(beside(&component).unwrap(), None);
    std::fs::write(folder.path().join("rule.wasm.minisig"), orders_1_4()).unwrap();
    assert_eq!(beside(&component).unwrap(), Some(orders_1_4()));
    std::fs::write(folder.path().join("rule.wasm.minisig"), [0xff; 9]).unwrap();
    assert_eq!(exit_of(&beside(&component).unwrap_err()), Exit::Usage);
}
