//! The merchant's variables that the user has set: `exec` keeps what any account takes, and says what it replaces.

/// Which retailer and which network: every account of the sandbox takes them as they are.
const KEPT: [&str; 2] = ["KPAY_RETAILER_ID", "KPAY_BANK_ID"];
/// Which account: the sandbox knows its own only.
const ACCOUNT: [&str; 3] = ["KPAY_USERNAME", "KPAY_PASSWORD", "KPAY_API_KEY"];

/// Takes the variables out that keep the user's value. With `open`, every account exists, so that the user's account is
/// kept too. Returns what the user must know of those that are replaced.
pub fn keep(
    variables: &mut Vec<(&'static str, String)>,
    open: bool,
    before: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let own = |name: &str| before(name).filter(|value| !value.is_empty());
    let has_account = own("KPAY_USERNAME").is_some() && own("KPAY_PASSWORD").is_some();
    let mut replaced = Vec::new();
    variables.retain(|(name, value)| {
        let Some(before) = own(name) else { return true };
        let is_account = ACCOUNT.contains(name);
        let kept = KEPT.contains(name) || (is_account && open && has_account);
        if is_account && !kept && before != *value {
            replaced.push(*name);
        }
        !kept
    });
    (!replaced.is_empty()).then(|| {
        format!(
            "{} of your environment is replaced by the sandbox's own account. To keep yours, start with --open",
            replaced.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(open: bool, before: &[(&str, &str)]) -> (Vec<&'static str>, Option<String>) {
        let names = ["KPAY_URL", "KPAY_USERNAME", "KPAY_PASSWORD", "KPAY_API_KEY", "KPAY_RETAILER_ID", "KPAY_BANK_ID"];
        let mut variables = names.map(|name| (name, "sandbox's".to_owned())).to_vec();
        let notice = keep(&mut variables, open, |name| {
            before.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        });
        (variables.into_iter().map(|(name, _)| name).collect(), notice)
    }

    #[test]
    fn a_retailer_and_a_bank_are_kept_and_an_account_is_replaced_with_a_word() {
        let mine =
            [("KPAY_URL", "x"), ("KPAY_USERNAME", "me"), ("KPAY_PASSWORD", "sandbox's"), ("KPAY_RETAILER_ID", "7")];
        let (set, notice) = kept(false, &mine);
        assert_eq!(set, ["KPAY_URL", "KPAY_USERNAME", "KPAY_PASSWORD", "KPAY_API_KEY", "KPAY_BANK_ID"]);
        let notice = notice.unwrap();
        assert!(notice.starts_with("KPAY_USERNAME of your environment") && notice.contains("--open"), "{notice}");
        assert_eq!(kept(false, &[("KPAY_BANK_ID", "")]), (kept(false, &[]).0, None));
    }

    #[test]
    fn with_open_the_users_account_is_kept_as_a_whole() {
        let (set, notice) = kept(true, &[("KPAY_USERNAME", "me"), ("KPAY_PASSWORD", "mine")]);
        assert_eq!(set, ["KPAY_URL", "KPAY_API_KEY", "KPAY_RETAILER_ID", "KPAY_BANK_ID"]);
        assert_eq!(notice, None);
        let (set, notice) = kept(true, &[("KPAY_USERNAME", "me")]);
        assert!(set.contains(&"KPAY_USERNAME") && notice.is_some(), "half an account is none");
    }
}
