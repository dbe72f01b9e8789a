-- Creates sites in bulk, all or none: sites FILE.csv (NAME,ADDRESS:PORT,DOMAIN on each line, - is standard input).
local file = arg[1] == "-" and io.stdin or assert(io.open(arg[1] or error("usage: sites FILE.csv", 0)))
local service = GetObject("IIS://LocalHost/SMTPSVC")
local last = 0
for site in service do
  last = math.max(last, tonumber(site.Name) or 0)
end
local rows = csv.rows(file:read("*a"), "NAME", "ADDRESS:PORT", "DOMAIN")
if #rows == 0 then error(arg[1] .. ": names no site", 0) end
transaction(function()
  for _, row in ipairs(rows) do
    local name, binding, domain = row[1], row[2], row[3]
    if #row ~= 3 or name == "" or binding == "" then
      error("line " .. row.line .. ": is not NAME,ADDRESS:PORT,DOMAIN: " .. table.concat(row, ","), 0)
    end
    last = last + 1
    local site = service:Create("IIsSmtpServer", tostring(last))
    site.ServerComment = name
    site.ServerBindings = {binding}
    site.DefaultDomain = domain
    site:SetInfo()
    print(last, name)
  end
end)
