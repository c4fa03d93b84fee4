"""Service directory: the services that one transport has sent requests to, and their watches."""

from kato_consul._discovery.watch_scheduler import WatchScheduler
from kato_consul._http.discovered_service import DiscoveredService
from kato_consul._runtime_defaults import clock
from kato_consul.settings import Settings


class ServiceDirectory:
    """The services of one transport, by name. A service is watched while requests are sent to it.

    When its watch has ended, its last snapshot is used only if Consul cannot be reached at the next
    request.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._services: dict[str, DiscoveredService] = {}
        self.scheduler = WatchScheduler(clock)

    def use(self, name: str, deadline: float) -> DiscoveredService:
        """Return a service, which is watched until ``deadline`` at least."""
        service = self._services.get(name)
        if service is None:
            new = DiscoveredService.create(name, self._settings)
            service = self._services.setdefault(name, new)
        discovery = service.discovery
        if discovery.settings.uses_consul:
            self.scheduler.keep_watching(
                discovery, deadline, discovery.new_watch, lambda: self._end(name, service)
            )
        return service

    def _end(self, name: str, service: DiscoveredService) -> set[str]:
        """Set aside what gets out of date without a watch. Return the origins whose connections may
        not be used any more: those of its instances, and of Consul."""
        store = service.discovery.store
        snapshot = store.current
        store.set_aside()
        instances = snapshot.instances if snapshot is not None else ()
        if not instances and self._services.get(name) is service:
            del self._services[name]  # names may come from anywhere: they must not accumulate
        return {*(instance.origin for instance in instances), *service.discovery.agents.addresses}
