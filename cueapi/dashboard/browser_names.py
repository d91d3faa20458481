"""What a browser is called by people: `Firefox on Linux`, from its User-Agent."""

BROWSERS = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
    ("curl", "curl"),
)
"""Words of a User-Agent, and what they mean. The order counts: most browsers also call themselves Chrome and Safari."""

SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def browser_name(user_agent: str) -> str:
    """What people call a browser and its system; what cannot be told stays away."""
    browser = next((name for word, name in BROWSERS if f"{word}/" in user_agent), "")
    system = next((name for word, name in SYSTEMS if word in user_agent), "")
    if not browser:
        return system or "Another browser"
    return f"{browser} on {system}" if system else browser
