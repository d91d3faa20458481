// Shows the description of the API, opened at the cues. Nothing is asked of another host: validatorUrl would.
const place = document.getElementById("docs");
if (!location.hash) history.replaceState(null, "", "#/cues");
SwaggerUIBundle({
  url: place.dataset.url, domNode: place, deepLinking: true, docExpansion: "none", validatorUrl: null,
});
