"""The site of the data service's tests, here too."""

from dataservice.conftest import _plugins_of_the_tests, site

__all__ = ["_plugins_of_the_tests", "site"]
