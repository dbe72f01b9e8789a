-- Lists all sites with their domains: inventory [json].
local states = {"starting", "started", "stopping", "stopped", "pausing", "paused", "continuing"}

local function get(object, name)
  local ok, value = pcall(object.Get, object, name)
  if ok then return value end
end

-- the key with the site's domains, which a site need not have
local function domainsOf(site)
  for child in site do
    if child.Name:lower() == "domain" then return child end
  end
  return function() end
end

local sites = json.array()
for site in GetObject("IIS://LocalHost/SMTPSVC") do
  if site.Class == "IIsSmtpServer" then
    local one = {number = tonumber(site.Name), name = get(site, "ServerComment"), state = states[site:Status()], bindings = site:GetEx("ServerBindings"), domains = json.array()}
    for d in domainsOf(site) do
      local accounts = get(d, "AuthTurnList")
      one.domains[#one.domains + 1] = {name = d.Name, route = get(d, "RouteAction"), accounts = accounts or json.array()}
    end
    sites[#sites + 1] = one
  end
end
if arg[1] == "json" then
  print(json.encode(sites, true))
  return
end
for _, site in ipairs(sites) do
  print(string.format("site %d %q %s %s", site.number, site.name or "", site.state, table.concat(site.bindings, " ")))
  for _, d in ipairs(site.domains) do
    print(string.format("  %-30s %5d  %s", d.name, d.route or 0, table.concat(d.accounts, " ")))
  end
end
