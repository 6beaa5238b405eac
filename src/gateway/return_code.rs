//! KPay's return codes: numbers, reply texts, meanings and how sure we are of each.
//!
//! The order of the variants is the order of precedence: a request wrong in several ways gets the first.

use serde::{Deserialize, Serialize};

/// How well a fact is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// In the developer's guide or on the vendor's pages.
    Documented,
    /// In published logs of real traffic.
    Observed,
    /// The best inference; nobody outside KPay knows.
    Assumed,
}

/// Which of the vendor's two tables of codes is spoken (contract, sections 3 and 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CodeTable {
    /// The developer's guide.
    Guide,
    /// The developer portal.
    Portal,
}

/// Why a call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReturnCode {
    /// Plain HTTP reached the endpoint.
    NonHttps,
    /// No usable `Authorization: Basic`.
    MissingAuthentication,
    /// Unknown user or wrong password.
    InvalidCredentials,
    /// Portal only: no `Kpay-Key`, or not this merchant's.
    InvalidApiKey,
    /// The account exists but may not use the API.
    InvalidRemoteUser,
    /// The peer's address is outside the merchant's list.
    NotWhitelisted,
    /// A required parameter is absent or unusable, or the body is not a JSON object.
    MissingParameters,
    /// `retailerid` is none of the merchant's.
    UnknownRetailer,
    /// It is, but switched off.
    RetailerNotEnabled,
    /// `pmethod` is none of KPay's.
    UnknownMethod,
    /// `bankid` is not in the table, or switched off.
    UnknownBank,
    /// Portal only: the amount is outside the method's limits.
    AmountOutOfRange,
    /// Same merchant, same `refid`.
    RefidUsed,
    /// The processor refused at once (scripted).
    ErrorProcessing,
    /// The mobile money transaction failed at once (scripted).
    MobileMoneyFailed,
    /// Portal only: the payer has not enough money (scripted).
    InsufficientFunds,
    /// Portal only: the payer did not confirm in time (scripted).
    PayerTimeout,
    /// Portal only: the payer cancelled (scripted).
    PayerCancelled,
    /// `checkstatus` of a transaction that is not there.
    TransactionNotFound,
}

/// One line of the table of codes.
struct Row {
    guide: u16,
    portal: u16,
    http: u16,
    /// `reply` in the guide's table, and its grade.
    reply: &'static str,
    grade: Grade,
    meaning: &'static str,
}

impl ReturnCode {
    /// Every code, in order of precedence.
    pub const ALL: [ReturnCode; 19] = [
        ReturnCode::NonHttps,
        ReturnCode::MissingAuthentication,
        ReturnCode::InvalidCredentials,
        ReturnCode::InvalidApiKey,
        ReturnCode::InvalidRemoteUser,
        ReturnCode::NotWhitelisted,
        ReturnCode::MissingParameters,
        ReturnCode::UnknownRetailer,
        ReturnCode::RetailerNotEnabled,
        ReturnCode::UnknownMethod,
        ReturnCode::UnknownBank,
        ReturnCode::AmountOutOfRange,
        ReturnCode::RefidUsed,
        ReturnCode::ErrorProcessing,
        ReturnCode::MobileMoneyFailed,
        ReturnCode::InsufficientFunds,
        ReturnCode::PayerTimeout,
        ReturnCode::PayerCancelled,
        ReturnCode::TransactionNotFound,
    ];

    #[rustfmt::skip] // a table is read by its columns
    fn row(self) -> Row {
        use Grade::{Assumed, Documented, Observed};
        let row = |guide, portal, http, reply, grade, meaning| Row { guide, portal, http, reply, grade, meaning };
        match self {
            Self::NonHttps              => row(500, 500, 500, "NON_HTTPS_REQUEST", Assumed, "non-HTTPS request"),
            Self::MissingAuthentication => row(401, 602, 401, "MISSING_AUTHENTICATION_HEADER", Assumed, "missing authentication header"),
            Self::InvalidCredentials    => row(600, 602, 401, "Invalid PIN", Observed, "invalid username / password"),
            Self::InvalidApiKey         => row(600, 601, 401, "INVALID_API_KEY", Assumed, "invalid Kpay-Key (portal only)"),
            Self::InvalidRemoteUser     => row(601, 602, 403, "INVALID_REMOTE_USER", Assumed, "invalid remote user"),
            Self::NotWhitelisted        => row(602, 603, 403, "IP_NOT_WHITELISTED", Assumed, "location / IP not whitelisted"),
            Self::MissingParameters     => row(603, 600, 400, "MISSING_PARAMETERS", Assumed, "missing required parameters"),
            Self::UnknownRetailer       => row(604, 600, 404, "UNKNOWN_RETAILER", Assumed, "unknown retailer"),
            Self::RetailerNotEnabled    => row(605, 600, 403, "RETAILER_NOT_ENABLED", Assumed, "retailer not enabled"),
            Self::UnknownMethod         => row(609, 600, 400, "UNKNOWN_PAYMENT_METHOD", Assumed, "unknown payment method"),
            Self::UnknownBank           => row(610, 600, 400, "UNKNOWN_FINANCIAL_INSTITUTION", Assumed, "unknown or disabled financial institution"),
            Self::AmountOutOfRange      => row(603, 605, 400, "AMOUNT_OUT_OF_RANGE", Assumed, "amount outside the method's limits (portal only)"),
            Self::RefidUsed             => row(608, 604, 409, "DUPLICATE_REFID", Assumed, "refid already used"),
            Self::ErrorProcessing       => row(606, 606, 402, "TARGET_AUTHORIZATION_ERROR", Documented, "error processing"),
            Self::MobileMoneyFailed     => row(607, 606, 402, "MOBILE_MONEY_TRANSACTION_FAILED", Assumed, "failed mobile money transaction"),
            Self::InsufficientFunds     => row(606, 607, 402, "INSUFFICIENT_FUNDS", Documented, "insufficient funds (portal only)"),
            Self::PayerTimeout          => row(607, 608, 402, "TIMEOUT", Documented, "no confirmation by the payer in time (portal only)"),
            Self::PayerCancelled        => row(607, 609, 402, "CANCELLED", Documented, "cancelled by the payer (portal only)"),
            Self::TransactionNotFound   => row(611, 611, 404, "TRANSACTION_NOT_FOUND", Assumed, "transaction not found"),
        }
    }

    /// The number on the wire.
    pub fn number(self, table: CodeTable) -> u16 {
        match table {
            CodeTable::Guide => self.row().guide,
            CodeTable::Portal => self.row().portal,
        }
    }

    /// The `reply` text on the wire. The portal's names are documented there.
    pub fn reply(self, table: CodeTable) -> &'static str {
        match (table, self.row().portal) {
            (CodeTable::Portal, 600) => "INVALID_REQUEST",
            (CodeTable::Portal, 602) => "INVALID_AUTH",
            (CodeTable::Portal, 606) => "TARGET_AUTHORIZATION_ERROR",
            _ => self.row().reply,
        }
    }

    /// The guide's words for it.
    pub fn meaning(self) -> &'static str {
        self.row().meaning
    }

    /// How well its `reply` text is known.
    pub fn grade(self) -> Grade {
        self.row().grade
    }

    /// The HTTP status under `--refusal-status http`: ours, KPay answers 200 (A, strong).
    pub fn http_status(self) -> u16 {
        self.row().http
    }

    /// Returns the code that a table numbers so. Where several causes share a number, it is the one that the table names. A
    /// number that only the guide has means there what it means in the guide.
    pub fn from_number(number: u16, table: CodeTable) -> Option<ReturnCode> {
        let portals = match (table, number) {
            (CodeTable::Portal, 600) => Some(Self::MissingParameters),
            (CodeTable::Portal, 602) => Some(Self::InvalidCredentials),
            (CodeTable::Portal, 606) => Some(Self::ErrorProcessing),
            (CodeTable::Portal, _) => Self::ALL.into_iter().find(|code| code.row().portal == number),
            (CodeTable::Guide, _) => None,
        };
        let guides = || Self::ALL.into_iter().find(|code| code.is_in(CodeTable::Guide) && code.row().guide == number);
        portals.or_else(guides)
    }

    /// Returns true if a request can be refused with this code where a table is spoken.
    pub fn is_in(self, table: CodeTable) -> bool {
        self.within(table) == self
    }

    /// Returns the code under which a table has this cause.
    pub fn within(self, table: CodeTable) -> ReturnCode {
        match (table, self) {
            (CodeTable::Guide, Self::InvalidApiKey) => Self::InvalidCredentials,
            (CodeTable::Guide, Self::AmountOutOfRange) => Self::MissingParameters,
            (CodeTable::Guide, Self::InsufficientFunds) => Self::ErrorProcessing,
            (CodeTable::Guide, Self::PayerTimeout | Self::PayerCancelled) => Self::MobileMoneyFailed,
            (CodeTable::Portal, Self::MobileMoneyFailed) => Self::ErrorProcessing,
            _ => self,
        }
    }

    /// Returns true if the payment's processor or its payer refuses with it, so that a transaction exists and has failed.
    pub fn is_processors(self) -> bool {
        matches!(
            self,
            Self::ErrorProcessing
                | Self::MobileMoneyFailed
                | Self::InsufficientFunds
                | Self::PayerTimeout
                | Self::PayerCancelled
        )
    }
}
