"""Examples of the account: its keys, secrets and sign-ins. One key is of a CI job that may write one group."""

from typing import Any

from pydantic import BaseModel

from cueapi.api.models.requests import accounts as account_bodies
from cueapi.api.models.requests import keys as key_bodies
from cueapi.api.models.responses import accounts, keys

Example = dict[str, Any]

EMAIL, API_KEY = "you@example.com", "cue_sk_3f9a1c7e5b2d8046f1e3a9c5d7b20846"
SECRET = "4be1f08c6d3a97527e0bc4d8a1f593602c7e8d14b95a3f06e8d7c2b1a4095f63"
DEVICE_CODE = "K7QX-93MD"
DAY = "2026-06-0"
WHOLE = "cue_sk_b81d6f20c94e37a5d0f2e8b6419c7a35"
KEY: Example = {
    "id": "key_m4c8z1v6t0qd", "name": "ci", "prefix": WHOLE[:14], "own": False, "scopes": ["read", "write"],
    "groups": ["reports"], "created_at": "2026-05-30T07:40:12.118402Z", "expires_at": "2027-01-01T00:00:00Z",
    "last_used_at": "2026-06-02T15:58:00Z", "last_used_from": "203.0.113.7",
}  # fmt: skip
USED_KEY: Example = {name: KEY[name] for name in ("id", "name", "own", "scopes", "groups", "expires_at")}

ACCOUNT_BODIES: dict[type[BaseModel], Any] = {
    account_bodies.RegisterBody: {"email": EMAIL},
    account_bodies.MePatch: {"alert_webhook_url": "https://your-server.example.com/cueapi-alerts"},
    account_bodies.CodeBody: {"device_code": DEVICE_CODE},
    account_bodies.SubmitBody: {"device_code": DEVICE_CODE, "email": EMAIL},
    account_bodies.ConfirmBody: {"device_code": DEVICE_CODE, "token": "q7mE2v0XcT4yLr8nWb5sKd1hZp9uJf3g"},
    account_bodies.SessionBody: {"token": "Jr5kXw2ZtQ8eNc7vBm4yHs1dLp0aGf6u"},
    key_bodies.KeyBody: {name: KEY[name] for name in ("name", "scopes", "groups", "expires_at")},
    key_bodies.KeyPatch: {"name": "ci of the reports"},
    key_bodies.RotateBody: {"overlap_seconds": 3600},
}

ACCOUNT_ANSWERS: dict[type[BaseModel], Any] = {
    accounts.Registered: {"api_key": API_KEY, "email": EMAIL},
    accounts.Me: {
        "email": EMAIL, "plan": "self_hosted", "active_cues": 7, "active_cue_limit": 1000,
        "executions_this_month": 214, "monthly_execution_limit": 1000000, "rate_limit_per_minute": 600,
        "email_verified": True, "pending_email": None, "has_webhook_secret": True,
        "api_key_prefix": API_KEY[:14], "alert_webhook_url": None, "key": USED_KEY,
    },
    accounts.Updated: {"updated_at": f"{DAY}2T16:12:00.450127Z"},
    accounts.Key: {"api_key": API_KEY},
    accounts.NewKey: {"api_key": API_KEY, "previous_key_revoked": True},
    accounts.Secret: {"webhook_secret": f"whsec_{SECRET}"},
    accounts.NewSecret: {"webhook_secret": f"whsec_{SECRET}", "previous_secret_revoked": True},
    accounts.AlertWebhookSecret: {"alert_webhook_secret": SECRET},
    accounts.NewAlertWebhookSecret: {"alert_webhook_secret": SECRET, "previous_secret_revoked": True},
    accounts.DeviceCode: {
        "verification_url": f"http://localhost:8000/auth/device?code={DEVICE_CODE}", "expires_in": 900,
    },
    accounts.EmailSent: {"status": "email_sent"},
    accounts.Polled: {
        "status": "approved", "email": EMAIL, "api_key": API_KEY, "session_token": "Jr5kXw2ZtQ8eNc7vBm4yHs1dLp0aGf6u",
    },
    accounts.Approved: {"status": "approved", "email": EMAIL},
    accounts.Session: {"session_token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.n0tAr3alS1gnature", "email": EMAIL},
    keys.ListedKey: KEY,
    keys.MadeKey: {**KEY, "last_used_at": None, "last_used_from": None, "api_key": WHOLE},
    keys.RotatedKey: {**KEY, "api_key": WHOLE, "former_serves_until": "2026-06-02T17:12:00.450127Z"},
    keys.KeyList: {"keys": [KEY]},
}  # fmt: skip
