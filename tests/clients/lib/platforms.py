"""What each mini-program platform puts on the wire and tells its app."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Platform:
    """One platform."""

    content_type: str
    referer: str | None
    user_agent: str | None
    target_end: str
    status_fails: bool


PLATFORMS = {
    "wx": Platform("application/json", "https://servicewechat.com/", "MicroMessenger/", "0.6.0", False),
    "my": Platform("application/json", "https://2021000000000000.hybrid.alipay-eco.com/", None, "0.6.0", True),
    "dd": Platform("application/x-www-form-urlencoded", None, None, "0.6.0&", True),
    "tt": Platform("application/json", "https://tmaservice.developer.toutiao.com/", "ToutiaoMicroApp/", "0.6.0", False),
    "qq": Platform("application/json", "https://appservice.qq.com/", "QQ/", "0.6.0", False),
    "swan": Platform("application/json", "https://smartapps.cn/", None, "0.6.0", False),
}
