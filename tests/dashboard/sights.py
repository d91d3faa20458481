"""How a person sees pages: on a phone and on a desk, by day and by night; the whole page as a picture."""

from base64 import b64decode

from attrs import frozen
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver


@frozen
class Sight:
    """A screen, in pixels."""

    width: int
    height: int
    dark: bool

    @property
    def name(self) -> str:
        """As it stands in names of files."""
        return f"{self.width}-{'dark' if self.dark else 'light'}"


SIGHTS = tuple(Sight(*size, dark) for size in ((390, 844), (1100, 800)) for dark in (False, True))


def look_as(driver: WebDriver, sight: Sight) -> None:
    """See by *sight* from now on, and touch where it is a phone. By itself no window is narrower than 500 px."""
    size = {"width": sight.width, "height": sight.height, "deviceScaleFactor": 1, "mobile": False}
    scheme = {"name": "prefers-color-scheme", "value": "dark" if sight.dark else "light"}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": sight.width < 960})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def sign_in(driver: WebDriver, base: str, key: str) -> None:
    """With a key, in place of whoever was signed in."""
    driver.delete_all_cookies()
    driver.get(f"{base}/ui/sign-in")
    driver.find_element(By.ID, "api_key").send_keys(key + Keys.ENTER)
    driver.find_element(By.CLASS_NAME, "nav")


def picture(driver: WebDriver) -> bytes:
    """The whole page as PNG, also what lies below the screen."""
    size = driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    width = max(size["width"], driver.execute_script("return window.innerWidth"))
    clip = {"x": 0, "y": 0, "width": width, "height": size["height"], "scale": 1}
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    return b64decode(shot["data"])


def is_too_wide(driver: WebDriver) -> bool:
    """Whether something of the page lies beyond its right edge."""
    return bool(
        driver.execute_script(
            "const {scrollWidth, clientWidth} = document.documentElement; return scrollWidth > clientWidth"
        )
    )
